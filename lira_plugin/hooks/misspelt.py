"""A hook that refuses settings nobody reads."""

import inspect
from difflib import get_close_matches

from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner

from lira_plugin.registry import HOOKS


@HOOKS.register_module()
class MisspeltSettingsHook(Hook):
    """Refuse a recipe with a top-level setting that is nearly, but not quite, one of the runner's.

    MMEngine takes the settings it knows and passes over all others in silence, for a recipe may have variables of its own; so
    ``--cfg-options train_cgf.max_iters=100`` would train for as long as before. The check comes once the runner is built, before
    anything is trained or tested.
    """

    def before_run(self, runner: Runner) -> None:
        """Look at the names.

        Raises:
            ValueError: a name looks like a slip.
        """
        runners = (Runner, FlexibleRunner)
        known = set().union(*(inspect.signature(kind.__init__).parameters for kind in runners)) - {"self", "cfg"}
        for name in sorted(name for name in set(runner.cfg) - known if name.islower()):  # others are classes it imports
            if close := get_close_matches(name, known, n=1, cutoff=0.8):
                raise ValueError(
                    f"{runner.cfg.filename or 'the recipe'} sets {name!r}, which nothing reads; is {close[0]!r} meant? "
                    "If it is a variable of your own, rename it."
                )
