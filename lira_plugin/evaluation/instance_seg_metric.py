"""COCO's average precision of masks, for the stage that trains a segmenter alone."""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundingSample, encode_mask


@METRICS.register_module()
class InstanceSegMetric(RecordMetric):
    """``mAP`` (IoU 0.5 to 0.95), ``AP50`` and ``AP75`` of instance masks, by pycocotools.

    Masks are compared in the letterboxed square, in which the segmenter sees and gives them. A value without any true instance
    is -1, as pycocotools has it.

    Args:
        prefix: put in front of the keys; none by default.
    """

    takes_instances = True

    def score(self, sample: GroundingSample, answer: Mapping[str, Tensor]) -> dict[str, Any]:
        """Labels and masks of the truth, and labels, scores and masks that were found; masks as RLE.

        Args:
            sample: with ``masks`` and ``mask_labels``.
            answer: ``labels`` (Q,), ``scores`` (Q,) and ``masks`` (Q, S, S) bool: the ``InstanceData`` of the model, of which
                MMEngine's evaluator makes a dictionary.

        Raises:
            ValueError: the masks of the truth were left out of the sample, masks are not of bool, or a score is not finite.
        """
        if any(region.has_target for region in sample.regions) and not len(sample.masks):
            raise ValueError(
                f"{sample.name} has regions but no masks to compare with: PackGroundingInputs(for_generation=True) leaves "
                "them out; set it to False in the pipeline of test_dataloader"
            )
        check_answer(sample, answer, Mapping, ("labels", "scores", "masks"))
        if answer["masks"].dtype != torch.bool:
            raise ValueError(f"{sample.name}: masks must be of bool, got {answer['masks'].dtype}: threshold them first")
        if not answer["scores"].isfinite().all():
            raise ValueError(f"{sample.name}: scores are not finite: are the weights of the model?")
        masks = sample.masks.cpu().numpy()
        return {
            "size": masks.shape[-2:],
            "truth": [(int(label), encode_mask(mask)) for label, mask in zip(sample.mask_labels, masks, strict=True)],
            "found": [
                (int(label), float(score), encode_mask(mask))
                for label, score, mask in zip(
                    answer["labels"], answer["scores"], answer["masks"].cpu().numpy(), strict=True
                )
            ],
        }

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Average precision over all records."""
        labels = {label for result in results for label, *_ in result["truth"] + result["found"]}
        truth, found = [], []
        for image, result in enumerate(results, 1):
            truth += [
                _annotation(len(truth) + n, image, label, rle) for n, (label, rle) in enumerate(result["truth"], 1)
            ]
            found += [_annotation(0, image, label, rle) | {"score": score} for label, score, rle in result["found"]]
        with redirect_stdout(io.StringIO()):  # pycocotools reports on every step
            coco = COCO()
            coco.dataset = {
                "info": {},
                "images": [
                    {"id": image, "height": result["size"][0], "width": result["size"][1]}
                    for image, result in enumerate(results, 1)
                ],
                "annotations": truth,
                "categories": [{"id": label, "name": str(label)} for label in sorted(labels)],
            }
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: float(value) for name, value in zip(("mAP", "AP50", "AP75"), evaluation.stats)}


def _annotation(index: int, image: int, label: int, rle: dict[str, Any]) -> dict[str, Any]:
    area = float(coco_mask.area(rle))
    return {"id": index, "image_id": image, "category_id": label, "segmentation": rle, "area": area, "iscrowd": 0}
