"""Recipes that inherit from an installed package, also where that is a checkout.

Mends MMEngine 0.10.6: ``from lira_plugin.configs.lira.lira_2b import *`` in a recipe is looked up in ``site-packages``, where an
editable installation (``uv sync``, ``pip install -e .``) has no folder. It can go when MMEngine asks where a package is imported
from.

Importing this module makes MMEngine find them. :mod:`lira_plugin.recipes` imports it, and through it the command ``lira``.
"""

import os
import sys
from importlib.util import find_spec

import mmengine.config  # noqa: F401
from mmengine.utils import get_installed_path


def installed_path(package: str) -> str:
    """The folder of a package."""
    path = get_installed_path(package)
    spec = None if os.path.isdir(path) else find_spec(package)
    return os.path.dirname(spec.origin) if spec and spec.origin else path


for _name in ("mmengine.utils", "mmengine.config.config", "mmengine.hub.hub"):
    if _name in sys.modules:  # the hub takes seconds to import, and later takes the function from mmengine.utils
        sys.modules[_name].get_installed_path = installed_path
