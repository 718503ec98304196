"""Configs of mmdet's parts as they stand in its own files, whatever the default scope of the recipe."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine import registry as mmengine
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from lira_plugin.registry import MODELS, TASK_UTILS

_REGISTRIES = ((MODELS, mmengine.MODELS), (TASK_UTILS, mmengine.TASK_UTILS))


@contextmanager
def mmdet_names() -> Iterator[None]:
    """Let bare names, those of mmdet's default arguments too, be mmdet's: it looks them up in the default scope."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def with_own_parts(config: Any) -> Any:
    """The config with classes in place of the bare names that the default scope has, which come before mmdet's.

    Args:
        config: a dictionary, of which a ``ConfigDict`` is made, a list, or anything else, which passes.
    """
    if isinstance(config, dict):
        copied = {key: with_own_parts(value) for key, value in config.items()}
        if isinstance(copied.get("type"), str) and "." not in copied["type"]:
            copied["type"] = _own_part(copied["type"])
        return ConfigDict(copied)
    if type(config) in (list, tuple):
        return type(config)(map(with_own_parts, config))
    return config


def _own_part(name: str) -> Any:
    """The class of a bare name in the default scope, or the name where only MMEngine or mmdet may know it."""
    if DefaultScope.get_current_instance() is None:
        return name
    for registry, root in _REGISTRIES:
        with registry.switch_scope_and_registry(None) as scoped:
            found = None if scoped.scope in ("mmengine", "mmdet") else scoped.get(name)
        if found is not None and found is not root.module_dict.get(name):
            return found
    return name
