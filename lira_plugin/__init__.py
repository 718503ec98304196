"""LIRA as a plugin for xtuner, MMEngine and mmdet (arXiv 2507.06272).

Importing this package imports no framework. It only makes sure that ``mmcv.ops`` can be imported later on; that DeepSpeed, and
torch's processes to compile with, wait until they are needed; and that others' needless lines stay out
(:mod:`lira_plugin.compat`). Parts live in ``lira_plugin.models``, ``lira_plugin.datasets`` and ``lira_plugin.evaluation``;
``lira_plugin.SEFE`` finds them there too. So registries of other scopes, such as xtuner's ``BUILDER``, take the name that
MMEngine's take.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from lira_plugin.compat.compile_pool import start_when_needed as _start_compile_pool_when_needed
from lira_plugin.compat.foreign_lines import install as _leave_foreign_lines_out
from lira_plugin.compat.late_packages import install as _let_packages_wait
from lira_plugin.compat.mmcv_ops import install as _install_ops_stand_in
from lira_plugin.version import __version__

_install_ops_stand_in()
_let_packages_wait()
_leave_foreign_lines_out()
_start_compile_pool_when_needed()

__all__ = ["__version__"]

_PARTS = ("structures", "datasets", "evaluation", "visualization", "models", "hooks")


def __getattr__(name: str) -> _Any:
    """A class of one of the parts' modules, which are imported only now.

    Raises:
        AttributeError: there is none of this name.
    """
    if name[:1].isupper():
        for part in _PARTS:
            module = _import_module(f"{__name__}.{part}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
