"""From our pipeline to mmdet's: a detector trains and is tested on our readers."""

from typing import Any, Literal

import numpy as np
from mmcv.transforms import BaseTransform

from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import MaskTarget, decode_union
from lira_plugin.structures.det_samples import TARGET_KEY


@TRANSFORMS.register_module()
class ToDetInputs(BaseTransform):
    """Give the keys that mmdet's transforms take, such as ``mmdet.Resize``, ``mmdet.RandomFlip`` and ``mmdet.PackDetInputs``.

    ``PackDetInputs`` needs ``meta_keys=ToDetInputs.META_KEYS`` to keep what our metrics score by: the target at the size of the
    image, whatever is done to the image afterwards.

    Args:
        bgr: give the channels in the order of mmdet's configs (``bgr_to_rgb=True``); False keeps red first.
        label: category of regions that have none.
        text: what a detector that reads is given: the ``question``, or the ``phrases`` of the regions, each of them once. With
            these a region's label is the index of its phrase, as mmdet's GLIP and Grounding DINO take it.

    Required Keys:

    - record, image, masks

    Optional Keys:

    - index

    Added Keys:

    - img ((H, W, 3) uint8), img_shape, ori_shape, img_id, img_path, text (str, or tuple of phrases)
    - gt_bboxes (``HorizontalBoxes``), gt_bboxes_labels, gt_ignore_flags, gt_masks (``BitmapMasks``)
    - mask_target (:class:`MaskTarget`)

    Raises:
        ValueError: there is no such text, or no region of a record has a phrase to look for.
    """

    META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "text", TARGET_KEY)

    def __init__(self, bgr: bool = True, label: int = 0, text: Literal["question", "phrases"] = "question") -> None:
        if text not in ("question", "phrases"):
            raise ValueError(f"text must be 'question' or 'phrases', got {text!r}")
        self.bgr, self.label, self.text = bgr, label, text

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add them. Regions without a target or a pixel, or without one of the phrases, are nothing for a detector to find."""
        from mmdet.structures.bbox import HorizontalBoxes
        from mmdet.structures.mask import BitmapMasks

        record, image = results["record"], results["image"]
        shape = image.shape[:2]
        named = [index for index, region in enumerate(record.regions) if region.has_target]
        masks = results["masks"][named] if named else np.zeros((0, *shape), bool)
        labels = [record.regions[index].category_id for index in named]
        text = question = record.conversation.turns[-1].question
        categories = [label if label >= 0 else self.label for label in labels]
        learnt = masks.any((1, 2))
        if self.text == "phrases":
            text = tuple(dict.fromkeys(region.phrase for region in record.regions if region.phrase))
            if not text:
                raise ValueError(
                    f"{record.source} record {record.record_id}: no region has a phrase: take text='question'"
                )
            phrases = [record.regions[index].phrase for index in named]
            learnt &= np.array([bool(phrase) for phrase in phrases], bool)
            categories = [text.index(phrase) if phrase else -1 for phrase in phrases]
        ignored = [part for region in record.regions for part in region.ignored]
        results[TARGET_KEY] = MaskTarget(
            masks,
            [record.regions[index].phrase for index in named],
            labels=labels,
            ignored=decode_union(ignored, *shape) if ignored else None,
            source=record.source,
            record_id=record.record_id,
            index=results.get("index"),
            question=question,
        )
        bitmaps = BitmapMasks(masks[learnt].astype(np.uint8), *shape)
        results |= {
            "img": np.ascontiguousarray(image[..., ::-1]) if self.bgr else image,
            "img_shape": shape,
            "ori_shape": shape,
            "img_id": int(record.record_id) if record.record_id.isdecimal() else record.record_id,
            "img_path": record.image_path,
            "scale_factor": (1.0, 1.0),
            "text": text,
            "gt_masks": bitmaps,
            "gt_bboxes": bitmaps.get_bboxes(HorizontalBoxes),
            "gt_bboxes_labels": np.array(categories, np.int64)[learnt],
            "gt_ignore_flags": np.zeros(int(learnt.sum()), bool),
        }
        return results
