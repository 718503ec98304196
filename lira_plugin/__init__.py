"""LIRA as a plugin for xtuner, MMEngine and mmdet (arXiv 2507.06272).

Importing this package imports no framework. It only makes sure that ``mmcv.ops`` can be imported later on, and that torch starts
no processes to compile with before they are needed (:mod:`lira_plugin.compat`). Parts live in ``lira_plugin.models``,
``lira_plugin.datasets`` and ``lira_plugin.evaluation``.
"""

from lira_plugin.compat.compile_pool import start_when_needed as _start_compile_pool_when_needed
from lira_plugin.compat.mmcv_ops import install as _install_ops_stand_in
from lira_plugin.version import __version__

_install_ops_stand_in()
_start_compile_pool_when_needed()

__all__ = ["__version__"]
