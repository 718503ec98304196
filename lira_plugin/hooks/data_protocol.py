"""What a score depends on in the data, told to the metrics that write it down."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from lira_plugin.registry import HOOKS


@HOOKS.register_module()
class DataProtocolHook(Hook):
    """Tell metrics that have ``take_settings`` about the test data: ``data``, what each source's scores depend on.

    That is files of annotations, tiles, and settings such as "once per object"
    (:meth:`~lira_plugin.datasets.GroundingDataset.protocols`), as they are when the first batch is made.
    """

    def before_test(self, runner: Runner) -> None:
        """Hand the protocols over."""
        dataset = runner.test_loop.dataloader.dataset
        if not hasattr(dataset, "protocols"):
            return
        for metric in runner.test_evaluator.metrics:
            if hasattr(metric, "take_settings"):
                metric.take_settings({"data": dataset.protocols()})
