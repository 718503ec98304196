"""Which weights a test is about: those that it was given."""

import logging

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from lira_plugin.checkpoint.files import was_loaded
from lira_plugin.registry import HOOKS


@HOOKS.register_module()
class GivenWeightsHook(Hook):
    """Keeps ``load_from`` from replacing the weights of ``xtuner test --checkpoint``.

    xtuner loads them into the model before the test starts, and MMEngine then reads ``load_from`` of the recipe over them. A
    training that began with a release has written that into the recipe of its work dir.
    """

    priority = "VERY_HIGH"

    def before_run(self, runner: Runner) -> None:
        """Forget ``load_from`` where weights have been given and nothing is trained."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        trains = isinstance(runner._train_loop, BaseLoop)  # built before this by train(), and by it alone
        if not trains and was_loaded(model) and (runner._load_from or runner._resume):
            runner.logger.log(
                logging.WARNING,
                f"the weights that were loaded into the model are tested; load_from={runner._load_from!r} and "
                f"resume={runner._resume} of the recipe are not heeded",
            )
            runner._load_from, runner._resume = None, False
