"""Between our targets, samples and answers and mmdet's ``DetDataSample``.

Going there needs mmdet; reading one does not, for it has its parts by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, from_numpy

from lira_plugin.structures.grounding import GroundedText, GroundingSample
from lira_plugin.structures.mask_pairs import MaskPrediction, MaskTarget
from lira_plugin.structures.mask_shapes import mask_boxes
from lira_plugin.structures.masks import encode_mask

TARGET_KEY = "mask_target"
"""Metadata of a ``DetDataSample`` that holds its :class:`MaskTarget`, whatever the pipeline did to the image since."""


def to_det_data_sample(
    target: MaskTarget | GroundingSample,
    prediction: MaskPrediction | GroundedText | None = None,
    classes: Sequence[str] | None = None,
) -> Any:
    """Make a ``DetDataSample``, which mmdet's visualizers and metrics take.

    It has ``gt_instances`` and ``pred_instances`` with ``bboxes`` around the masks, ``labels``, ``masks`` and ``label_names``
    (the phrases), the latter with ``scores`` too. Its metadata has ``img_id``, ``ori_shape``, ``img_shape``, ``text`` and, for
    mmdet's ``CocoMetric`` without a file, ``instances``.

    Args:
        target: what is true.
        prediction: what a model says, or None.
        classes: names of the categories. A mask without a label of its own gets the one whose name is its phrase. None: such
            a mask has label 0.

    Raises:
        ValueError: ``classes`` has no such phrase, or masks of target and prediction differ in size.
    """
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    if isinstance(target, GroundingSample):
        target = MaskTarget.of_sample(target)
    if isinstance(prediction, GroundedText):
        prediction = MaskPrediction.of_text(prediction, target.size)
    name = f"{target.source} record {target.record_id}"
    boxes, labels = mask_boxes(target.masks), _labels(target, classes, name)
    instances = [
        {"bbox": box.tolist(), "bbox_label": int(label), "mask": encode_mask(mask), "ignore_flag": 0}
        for box, label, mask in zip(boxes, labels, target.masks)
    ]
    record_id = target.record_id
    shape = tuple(target.size)
    sample = DetDataSample(
        metainfo={
            "img_id": int(record_id) if record_id.isdecimal() else record_id or target.index,
            "ori_shape": shape,
            "img_shape": shape,
            "text": target.question,
            "instances": instances,
            TARGET_KEY: target,
        }
    )
    sample.gt_instances = InstanceData(
        bboxes=from_numpy(boxes),
        labels=from_numpy(labels),
        masks=BitmapMasks(target.masks.astype(np.uint8), *shape),
        label_names=_names(target),
    )
    if prediction is not None:
        if prediction.masks.shape[1:] != target.masks.shape[1:]:
            raise ValueError(f"{name}: the masks found are {prediction.masks.shape[1:]}, but the image is {shape}")
        found = prediction.instances()
        sample.pred_instances = InstanceData(
            bboxes=from_numpy(mask_boxes(prediction.masks)),
            labels=from_numpy(_labels(prediction, classes, name)),
            scores=found["scores"],
            masks=found["masks"],
            label_names=_names(prediction),
        )
        sample.pred_caption = prediction.text  # as mmdet's XDecoder calls it
    return sample


def from_det_data_sample(
    sample: Any, classes: Sequence[str] | None = None
) -> tuple[MaskTarget | None, MaskPrediction | None]:
    """Read a ``DetDataSample``, or the dictionary that MMEngine's evaluator makes of it.

    Predictions come in descending order of their scores, so that the best is the first. Phrases are ``label_names`` where there
    are any, else the names of the labels in ``classes``.

    Args:
        sample: with ``gt_instances``, ``pred_instances`` or both.
        classes: names of the categories, or None.

    Returns:
        What is true, None where the sample does not say, and what was found, None without predictions.

    Raises:
        ValueError: true masks are not of the size that ``ori_shape`` says, or masks that were found are not of bool.
    """
    read = sample.get
    text, record_id = read("text") or "", read("img_id")
    target, found = read(TARGET_KEY), read("pred_instances")
    true = read("gt_instances")
    if target is None and true is not None and true.get("masks") is not None:
        name = f"the DetDataSample of image {record_id!r}"
        masks, size = _array(true["masks"]).astype(bool), tuple(read("ori_shape") or ())[:2]
        if size and masks.shape[1:] != size:
            raise ValueError(
                f"{name} has true masks of {masks.shape[1:]}, but the image is {size}: in a test pipeline LoadAnnotations comes "
                "after Resize"
            )
        target = MaskTarget(
            masks,
            _phrases(true, classes),
            labels=_listed(true, "labels"),
            source=read("source") or "masks",
            record_id="" if record_id is None else str(record_id),
            index=read("sample_idx"),
            question=text if isinstance(text, str) else " ".join(map(str, text)),
        )
    if found is None or found.get("masks") is None:
        return target, None
    scores = np.asarray(_listed(found, "scores"), float)
    masks = _array(found["masks"])
    order = np.argsort(-scores, kind="stable") if len(scores) else np.arange(len(masks))
    phrases, labels = _phrases(found, classes), _listed(found, "labels")
    return target, MaskPrediction(
        masks[order],
        [phrases[index] for index in order] if phrases else (),
        scores=scores[order].tolist() if len(scores) else (),
        labels=[labels[index] for index in order] if labels else (),
        text=read("pred_caption") or "",
    )


def is_det_data_sample(sample: Any) -> bool:
    """Whether it is mmdet's, or the dictionary of one."""
    return hasattr(sample, "get") and (
        sample.get("pred_instances") is not None or sample.get("gt_instances") is not None
    )


def _labels(pair: MaskTarget | MaskPrediction, classes: Sequence[str] | None, name: str) -> np.ndarray:
    """(M,) long."""
    own = pair.labels or (-1,) * len(pair.masks)
    labels = [label if label >= 0 else _label(phrase, classes, name) for label, phrase in zip(own, _names(pair))]
    return np.asarray(labels, np.int64).reshape(-1)


def _label(phrase: str, classes: Sequence[str] | None, name: str) -> int:
    if classes is None:
        return 0
    if phrase not in classes:
        raise ValueError(
            f"{name}: no class is called {phrase!r}; give labels, or classes=None for masks without categories"
        )
    return list(classes).index(phrase)


def _names(pair: MaskTarget | MaskPrediction) -> list[str]:
    return list(pair.phrases) or [""] * len(pair.masks)


def _phrases(instances: Mapping[str, Any], classes: Sequence[str] | None) -> list[str]:
    names = instances.get("label_names")
    if names is None:
        return [] if classes is None else [classes[label] for label in _listed(instances, "labels")]
    return list(names)


def _listed(instances: Mapping[str, Any], name: str) -> list[Any]:
    values = instances.get(name)
    return [] if values is None else np.asarray(_array(values)).tolist()


def _array(values: Any) -> np.ndarray:
    """An array of a tensor, or of mmdet's masks, be they bitmaps or polygons."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return values.to_ndarray() if hasattr(values, "to_ndarray") else np.asarray(values)
