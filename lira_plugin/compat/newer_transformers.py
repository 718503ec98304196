"""Classes that only newer versions of transformers have, by name.

Mends transformers 4.48, which has no Qwen2.5-VL, Qwen3 and Qwen3-VL: modules that need them import all the same, and say what is
missing when they are used. It can go when 4.57 is the oldest version that is supported.
"""

from importlib import import_module
from typing import Any

import transformers

OLDEST = "4.57"
"""The version that has all of them."""


def from_transformers(path: str) -> Any:
    """What a dotted path inside of transformers names, such as ``Qwen3Config`` or ``models.qwen3.modeling_qwen3.Qwen3Model``.

    Raises:
        ImportError: the installed version does not have it.
    """
    module, _, name = f"transformers.{path}".rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"transformers {transformers.__version__} has no {path}: this needs transformers >= {OLDEST}; use the second "
            "environment, uv run --project envs/modern (docs/new_base.md#bases-of-the-second-environment)"
        ) from error
