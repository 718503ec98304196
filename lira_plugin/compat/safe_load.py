"""Reading the checkpoints of MMEngine and DeepSpeed without running code from them.

:data:`MMENGINE_DATA` mends MMEngine 0.10.6: it keeps its loss history in each checkpoint, objects that ``torch.load`` with
``weights_only=True`` refuses. It can go when MMEngine writes plain containers, or calls ``add_safe_globals`` itself.

:func:`plain_data_only` mends DeepSpeed 0.16.2, whose ``zero_to_fp32`` asks for ``weights_only=False``. It can go when DeepSpeed
asks for True.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def _statistic(owner: Any, name: str) -> Any:
    """Stands in for ``getattr``, by which the loss history names its four statistics; gives nothing else."""
    if owner is not HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise UnpicklingError(f"attribute {name!r} of {owner!r} is asked for")
    return getattr(owner, name)


_statistic.__module__, _statistic.__name__ = "builtins", "getattr"

MMENGINE_DATA = (
    HistoryBuffer,
    _statistic,
    np.core.multiarray._reconstruct,
    np.core.multiarray.scalar,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)),
)
"""Types of plain data that MMEngine keeps beside the weights, for ``torch.serialization.safe_globals``."""


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
