"""Accuracy of class names, for the stage that trains a semantic encoder alone."""

from collections.abc import Mapping

from torch import Tensor

from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundingSample


@METRICS.register_module()
class RegionAccuracy(RecordMetric):
    """``accuracy``: the share of all regions whose class is named.

    Args:
        prefix: put in front of the keys; none by default.
    """

    takes_instances = True

    def score(self, sample: GroundingSample, answer: Mapping[str, Tensor]) -> tuple[int, int]:
        """Regions that are named right, and regions.

        Args:
            sample: with ``mask_labels``.
            answer: ``labels``, one a region: the ``InstanceData`` of the model, of which MMEngine's evaluator makes a dictionary.

        Raises:
            ValueError: the answer has no labels, or not one label for each region of the sample.
        """
        check_answer(sample, answer, Mapping, ("labels",))
        named, true = answer["labels"].cpu(), sample.mask_labels.cpu()
        if len(named) != len(true):
            raise ValueError(f"{sample.name} has {len(true)} regions, got {len(named)} labels")
        return int((named == true).sum()), len(true)

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Accuracy over the regions of all records.

        Raises:
            ValueError: there is no region.
        """
        right, regions = (sum(counts) for counts in zip(*results))
        if not regions:
            raise ValueError("no record has a region: there is nothing to name")
        return {"accuracy": right / regions}
