"""Random ground truth and results of COCO instances, with every degenerate case."""

import random

from lira_plugin.structures import encode_mask
from support.random_gcg import SIZE, changed, random_mask

CATEGORIES = {7: "dog", 3: "traffic light", 12: "Cat"}


def random_coco(seed: int, images: int = 7) -> tuple[dict, list[dict]]:
    """A COCO file and results for it.

    Areas are written 60 or 400 times as large as they are, so that there are small, medium and large ones. Images may have no
    object, one twice, crowds, and empty masks. Results may be wrong in mask or category, found twice, of equal scores, or none.
    """
    rng = random.Random(seed)
    ids = rng.sample(range(1, 500), images)
    annotations, results = [], []
    for image_id in ids:
        truths = [(random_mask(rng), rng.choice((7, 7, 3))) for _ in range(rng.choice((0, 1, 2, 3, 5)))]
        if truths and rng.random() < 0.2:
            truths.append(truths[0])
        annotations += [
            {"id": len(annotations) + index, "image_id": image_id, "category_id": category,
             "area": rng.choice((60, 400)) * int(mask.sum()), "iscrowd": int(rng.random() < 0.12),
             "segmentation": encode_mask(mask)}
            for index, (mask, category) in enumerate(truths, 1)
        ]  # fmt: skip
        found = [(changed(mask, rng), category) for mask, category in truths if rng.random() < 0.85]
        found += [(changed(mask, rng), category) for mask, category in truths if rng.random() < 0.2]
        found += [(random_mask(rng), rng.choice((7, 3, 12))) for _ in range(rng.choice((0, 0, 1)))]
        if rng.random() < 0.15:
            found = []
        rng.shuffle(found)
        results += [
            {"image_id": image_id, "category_id": category if rng.random() < 0.9 else rng.choice((3, 12)),
             "segmentation": encode_mask(mask), "score": round(rng.random(), 1)}
            for mask, category in found
        ]  # fmt: skip
    if seed % 10 == 9:
        results = []
    if seed % 10 == 8:
        annotations = []
    listed = [{"id": image_id, "file_name": f"{image_id}.jpg", "height": SIZE[0], "width": SIZE[1]} for image_id in ids]
    categories = [{"id": category_id, "name": name} for category_id, name in CATEGORIES.items()]
    return {"info": {}, "images": listed, "annotations": annotations, "categories": categories}, results
