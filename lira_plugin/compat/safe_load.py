"""Reading the checkpoints of MMEngine and DeepSpeed without running code from them.

:data:`MMENGINE_DATA` mends MMEngine 0.10.6: it keeps its loss history in each checkpoint, objects that ``torch.load`` with
``weights_only=True`` refuses. It can go when MMEngine writes plain containers, or calls ``add_safe_globals`` itself.

:func:`plain_data_only` mends DeepSpeed 0.16.2, whose ``zero_to_fp32`` asks for ``weights_only=False``. It can go when DeepSpeed
asks for True.

:func:`refuse_programs` mends torch before 2.6, which runs TorchScript archives also where only weights are asked for
(CVE-2025-32434). It can go with torch 2.5.
"""

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""The variable by which torch takes weights and plain data alone, whatever its caller asks for."""
TRUST = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""The variable by which a user says that the checkpoints are trusted, and may hold code."""
PROGRAM = "constants.pkl"
"""A file that each TorchScript archive has, and no archive of tensors."""


def _named(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """The function under the name that a pickle calls it by."""

    @wraps(function)
    def alias(*arguments: Any) -> Any:
        return function(*arguments)

    alias.__module__, alias.__name__, alias.__qualname__ = module, name, name
    return alias


def _statistic(owner: Any, name: str) -> Any:
    """Stands in for ``getattr``, by which the loss history names its four statistics; gives nothing else."""
    if owner is not HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise UnpicklingError(f"attribute {name!r} of {owner!r} is asked for")
    return getattr(owner, name)


_array = np.empty(1)
_OF_ARRAYS = (_array.__reduce__()[0], _array[0].__reduce__()[0])

MMENGINE_DATA = (
    HistoryBuffer,
    ConfigDict,  # of DeepSpeed's settings
    _named(_statistic, "builtins", "getattr"),
    # NumPy 1 and 2 call them by different names, and read the files of one another.
    *(
        _named(function, f"numpy.{core}.multiarray", function.__name__)
        for function in _OF_ARRAYS
        for core in ("core", "_core")
    ),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)),
)
"""Types of plain data that MMEngine keeps beside the weights, for :func:`also_safe`."""


def deepspeed_data() -> tuple[Any, ...]:
    """Types of plain data that DeepSpeed keeps beside the weights, for :func:`also_safe`."""
    # It takes seconds, and only who has trained with DeepSpeed needs it.
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return (set, DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address)


@contextmanager
def also_safe(types: Iterable[Any]) -> Iterator[None]:
    """Allow types for a while; ``torch.serialization.safe_globals`` would forget those of them that were allowed before."""
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals(list(types))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@contextmanager
def plain_data_only() -> Iterator[None]:
    """Have ``torch.load`` refuse code even where its caller asks for all objects."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def refuse_programs(file: Any) -> None:
    """Refuse what is no archive of tensors but a program, before torch sees it.

    Args:
        file: a path, or a file that is open for reading and stays where it is.

    Raises:
        pickle.UnpicklingError: it is a TorchScript archive or a tar file.
    """
    where = file.tell() if hasattr(file, "seek") else None
    if where is None and not Path(file).is_file():
        return
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
            if any(name.rsplit("/", 1)[-1] == PROGRAM for name in names):
                raise UnpicklingError("it is a TorchScript archive, which is a program; save its state_dict() instead")
        elif tarfile.is_tarfile(file):
            raise UnpicklingError("it is a tar file, as torch wrote them before version 0.2; save its weights anew")
    finally:
        if where is not None:
            file.seek(where)
