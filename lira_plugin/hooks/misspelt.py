"""A hook that refuses settings nobody reads."""

import inspect
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner

from lira_plugin.registry import HOOKS

_RUNNER = set().union(*(inspect.signature(kind.__init__).parameters for kind in (Runner, FlexibleRunner)))


@HOOKS.register_module()
class MisspeltSettingsHook(Hook):
    """Refuse settings that change nothing: names that are nearly the runner's, and variables of the recipe.

    MMEngine takes the settings it knows and passes over all others in silence, for a recipe may have variables of its own; so
    ``--cfg-options train_cgf.max_iters=100`` would train for as long as before, and so would ``max_iters=100``, as the recipe has
    read its variables by then. The check comes once the runner is built, before anything is trained or tested.
    """

    def before_run(self, runner: Runner) -> None:
        """Look at the names, and at what has become of the recipe's variables.

        Raises:
            ValueError: a name looks like a slip, or a variable was set after it was read.
        """
        config, recipe = runner.cfg, runner.cfg.filename or "the recipe"
        own = sorted(name for name in set(config) - _RUNNER if name.islower())  # others are classes it imports
        for name in own:
            if close := get_close_matches(name, _RUNNER - {"self", "cfg"}, n=1, cutoff=0.8):
                raise ValueError(
                    f"{recipe} sets {name!r}, which nothing reads; is {close[0]!r} meant? If it is a variable of your own, "
                    "rename it."
                )
        if not config.filename or not os.path.isfile(config.filename):
            return
        written = dict(_plain(Config.fromfile(config.filename)))
        given = dict(_plain({name: config[name] for name in own}))
        for key in given.keys() & written.keys():
            if given[key] != written[key]:
                used = _uses(key, written)
                raise ValueError(
                    f"{key}={given[key]!r} changes nothing: it is a variable of {recipe}, which has read it before. Give the "
                    f"settings that it is used in{', perhaps ' + ', '.join(used) if used else ''}; paths have environment "
                    "variables (docs/troubleshooting.md#setting-changes-nothing)"
                )


def _uses(key: str, written: Mapping[str, Any]) -> list[str]:
    """Up to four settings of the runner that may have been read from a variable: they have its value, and its name if many do."""
    used = [other for other in written if other.split(".")[0] in _RUNNER and written[other] == written[key]]
    return used if len(used) <= 4 else [other for other in used if other.split(".")[-1] == key.split(".")[-1]][:4]


def _plain(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Texts, numbers and None inside of containers, with their dotted keys."""
    if isinstance(value, Mapping | Config):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    else:
        if value is None or isinstance(value, str | int | float):
            yield path, value
        return
    for key, inner in pairs:
        yield from _plain(inner, f"{path}.{key}" if path else str(key))
