"""What metrics are given, as the sample and the answer that they score."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lira_plugin.structures import (
    GroundedText,
    GroundingSample,
    MaskPrediction,
    MaskTarget,
    from_det_data_sample,
    is_det_data_sample,
)


def given_targets(data_batch: Any, answers: Sequence[Any]) -> Sequence[Any]:
    """What the answers of a batch are scored by.

    That is ``data_samples`` of the batch, or the answers themselves where there is no batch: a ``DetDataSample`` may hold both.
    """
    if isinstance(data_batch, Mapping) and "data_samples" in data_batch:
        return data_batch["data_samples"]
    return answers


def as_sample(target: Any, classes: Sequence[str] | None = None) -> GroundingSample:
    """The sample that a metric scores by.

    Args:
        target: a sample, a :class:`MaskTarget`, or mmdet's ``DetDataSample`` with true masks.
        classes: names of the categories, for phrases of a ``DetDataSample`` that has labels alone.

    Raises:
        ValueError: it is something else, or has no true masks.
    """
    if isinstance(target, GroundingSample):
        return target
    if is_det_data_sample(target):
        target, _ = from_det_data_sample(target, classes)
        if target is None:
            raise ValueError(
                "a DetDataSample has no true masks: add LoadAnnotations(with_mask=True) to the test pipeline"
            )
    if not isinstance(target, MaskTarget):
        raise ValueError(
            f"a metric scores by a GroundingSample, a MaskTarget or a DetDataSample, got {type(target).__name__}; they are "
            "data_samples of the batch"
        )
    return target.sample()


def as_answer(
    answer: Any, takes_instances: bool, classes: Sequence[str] | None = None
) -> GroundedText | Mapping[str, Tensor] | Any:
    """The answer that a metric scores.

    Args:
        answer: a :class:`MaskPrediction` or mmdet's ``DetDataSample`` with predictions; anything else stays as it is.
        takes_instances: whether the metric takes tensors by name, as a segmenter gives them, in place of a grounded text.
        classes: names of the categories, for phrases of a ``DetDataSample`` that has labels alone.

    Raises:
        ValueError: a ``DetDataSample`` has no masks that were found.
    """
    if is_det_data_sample(answer):
        _, answer = from_det_data_sample(answer, classes)
        if answer is None:
            raise ValueError("a DetDataSample has no masks in its pred_instances: the model must predict masks")
    if isinstance(answer, MaskPrediction):
        return answer.instances() if takes_instances else answer.grounded_text()
    return answer
