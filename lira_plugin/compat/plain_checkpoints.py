"""MMEngine and xtuner take weights and plain data from a checkpoint, and run no code from it.

Mends MMEngine 0.10.6, xtuner 0.2.0 and DeepSpeed 0.16.2: ``load_from``, ``--resume`` and ``xtuner test --checkpoint`` call
``torch.load`` so that it runs whatever a file asks for. It can go when all three ask for ``weights_only=True``.

Importing this module makes ``torch.load`` refuse code in this process, and allows the plain types that MMEngine and DeepSpeed
keep beside the weights. The recipes import it (``configs/lira/_base_/default_runtime.py``). Who
trusts all of their checkpoints, and has one that holds other objects, sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1``.
"""

import os
import sys
from functools import wraps
from pickle import UnpicklingError
from typing import Any

import torch

from lira_plugin.compat.safe_load import MMENGINE_DATA, TRUST, deepspeed_data, refuse_programs

_load = torch.load


@wraps(_load)
def load(file: Any, *arguments: Any, **settings: Any) -> Any:
    """``torch.load`` of weights and plain data, whose errors name the file and say what to do."""
    try:
        refuse_programs(file)
        if "deepspeed" in sys.modules:  # whose own types are in files that only its trainings read
            torch.serialization.add_safe_globals(list(deepspeed_data()))
        return _load(file, *arguments, **settings | {"weights_only": True})
    except UnpicklingError as error:
        raise UnpicklingError(
            f"{file} holds more than weights and plain data, and could run code of its author "
            "(docs/troubleshooting.md#checkpoint-holds-more-than-weights). If you trust it, set "
            f"{TRUST}=1 and run the command again: {error}"
        ) from error


if os.environ.get(TRUST, "0").lower() not in ("1", "y", "yes", "true"):
    torch.serialization.add_safe_globals(list(MMENGINE_DATA))
    torch.load = load
