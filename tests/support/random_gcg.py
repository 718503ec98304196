"""Random ground truth and predictions of grounded captions, with every degenerate case, in GLaMM's layouts."""

import json
import random
from pathlib import Path

import numpy as np

from lira_plugin.structures import encode_mask

SIZE = (9, 13)
PHRASES = ("a dog", "A Dog ", "the cat", "sky", "a dog")


def random_mask(rng: random.Random) -> np.ndarray:
    """A box, now and then empty or with pixels changed."""
    mask = np.zeros(SIZE, bool)
    if rng.random() < 0.12:
        return mask
    top, left = rng.randrange(6), rng.randrange(9)
    mask[top : top + rng.randint(1, 5), left : left + rng.randint(1, 5)] = True
    return mask


def changed(mask: np.ndarray, rng: random.Random) -> np.ndarray:
    """The mask with a few pixels changed."""
    found = mask.copy()
    for _ in range(rng.choice((0, 0, 1, 3, 8))):
        found[rng.randrange(SIZE[0]), rng.randrange(SIZE[1])] ^= True
    return found


def random_gcg(seed: int, images: int = 6) -> tuple[dict, dict, dict]:
    """Two files of a ground truth, and predictions by image id; an image may have none.

    The masks and phrases of an image may differ in their counts, masks may be empty, found twice, or of nothing.
    """
    rng = random.Random(seed)
    masks, captions, predictions = [], [], {}
    ids = [f"sa_{index}" for index in rng.sample(range(100), images)]
    for image_id in ids:
        truths = [random_mask(rng) for _ in range(rng.randint(0, 4))]
        labels = [rng.choice(PHRASES) for _ in truths]
        masks += [
            {"id": len(masks) + index, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": int(mask.sum())}
            | {"segmentation": encode_mask(mask)}
            for index, mask in enumerate(truths, 1)
        ]
        captions.append({"id": len(captions), "image_id": image_id, "caption": " and ".join(labels), "labels": labels})
        if rng.random() < 0.15:
            continue
        found = [changed(mask, rng) for mask in truths if rng.random() < 0.8]
        found += [changed(rng.choice(truths), rng) for _ in range(rng.choice((0, 0, 1))) if truths]  # twice the same
        found += [random_mask(rng) for _ in range(rng.choice((0, 0, 1)))]
        rng.shuffle(found)
        if rng.random() < 0.15:
            found = []
        named = len(found) - (rng.random() < 0.1)
        predictions[image_id] = {
            "image_id": image_id,
            "caption": "a dog under the sky",
            "phrases": [rng.choice(PHRASES) for _ in range(max(0, named))],
            "pred_masks": [encode_mask(mask) for mask in found],
            "scores": [round(rng.random(), 1) for _ in found],
        }
    listed = [{"id": image_id, "height": SIZE[0], "width": SIZE[1]} for image_id in ids]
    return (
        {"info": {}, "images": listed, "annotations": masks, "categories": [{"id": 1, "name": "object"}]},
        {"info": {}, "images": listed, "annotations": captions},
        predictions,
    )


def write_gcg(folder: Path, masks: dict, captions: dict, predictions: dict, split: str = "val") -> tuple[Path, Path]:
    """Write them; the folders of predictions and of the ground truth."""
    truth_folder, prediction_folder = folder / "truth", folder / "predictions"
    truth_folder.mkdir(parents=True)
    prediction_folder.mkdir()
    (truth_folder / f"{split}_gcg_coco_mask_gt.json").write_text(json.dumps(masks))
    (truth_folder / f"{split}_gcg_coco_caption_gt.json").write_text(json.dumps(captions))
    for image_id, prediction in predictions.items():
        (prediction_folder / f"{image_id}.json").write_text(json.dumps(prediction))
    return prediction_folder, truth_folder
