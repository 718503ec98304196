"""Small files in the layouts that people hold, with masks that are known as arrays."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 24, 32


def box_mask(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


CAT, CUP = box_mask(2, 3, 12, 9), box_mask(15, 10, 30, 22)
POLYGONS = {"cat": [2, 3, 12, 3, 12, 9, 2, 9], "cup": [15, 10, 30, 10, 30, 22, 15, 22]}


def decoded(segmentations):
    """The union of annotations by pycocotools, not by this package."""
    union = np.zeros((HEIGHT, WIDTH), bool)
    for value in segmentations:
        parts = value if isinstance(value, list) and isinstance(value[0], list | dict) else [value]
        for part in parts:
            encoded = part if isinstance(part, dict) else coco_mask.frPyObjects([part], HEIGHT, WIDTH)[0]
            union |= coco_mask.decode(encoded).astype(bool)
    return union


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def png_of(array, mode=None, palette=None):
    image = Image.fromarray(array, mode)
    if palette:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(seed=0):
    return png_of(np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def write_pictures(folder: Path, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).write_bytes(picture(seed))


def write_json(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def write_parquet(path: Path, records, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records), path, **options)
    return str(path)


def write_csv(path: Path, lines, separator=","):
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(lines)
    return str(path)


def sa2va(root: Path):
    write_pictures(root / "images", "a.png", "b.png")
    halves = [[2, 3, 7, 3, 7, 9, 2, 9], [7, 3, 12, 3, 12, 9, 7, 9]]
    entries = [
        {"image": "a.png", "mask": [halves, [POLYGONS["cup"]]], "text": ["The Cat", "the cup"]},
        {"image": "b.png", "mask": [[POLYGONS["cup"]]], "text": ["a cup"]},
    ]
    return write_json(root / "annotations.json", entries)


def label_maps(root: Path):
    """Value 1 is the cat, 3 the cup, 255 a corner; a palette PNG whose colours say nothing."""
    write_pictures(root / "images", "a.png", "b.png")
    (root / "masks").mkdir()
    labels = CAT * 1 + CUP * 3
    labels[:2, :2] = 255
    palette = [200, 10, 10] * 256
    (root / "masks" / "a.png").write_bytes(png_of(labels.astype(np.uint8), "P", palette))
    (root / "masks" / "b.png").write_bytes(png_of((CUP * 3).astype(np.uint8)))
    (root / "classes.txt").write_text("background\nCat\ndog\ncup\n")
    return str(root)


def masks_csv(root: Path, separator=","):
    write_pictures(root / "images", "a.png")
    (root / "masks").mkdir()
    for name, mask in (("cat", CAT), ("cup", CUP)):
        (root / "masks" / f"{name}.png").write_bytes(png_of(mask.astype(np.uint8) * 255))
    lines = [["image", "mask", "phrase"]]
    lines += [["images/a.png", f"masks/{name}.png", f"The {name}"] for name in ("cat", "cup")]
    return write_csv(root / "masks.csv", lines, separator)


def hub_records():
    """As exports with images and a list of sentences an object: the question is no expression, the polygon is flat."""
    return [
        {
            "question_id": str(index),
            "image": {"bytes": picture(), "path": "a.png"},
            "question": "Please carefully observe the area circled in the image.",
            "answer": [f"the {name}", f"{name} there"],
            "segmentation": [float(value) for value in POLYGONS[name]],
            "bbox": [0.0, 0.0, 1.0, 1.0],
            "iscrowd": 0,
            "file_name": f"a_{index}.jpg",
        }
        for index, name in enumerate(("cat", "cup"))
    ]


def raw_records(split="val"):
    """As exports without images: sentences are objects, the annotation is a JSON text."""
    return [
        {
            "ref_id": 7 + index,
            "ann_id": index,
            "image_id": 5,
            "split": split,
            "sentences": [{"raw": name.upper(), "sent": f"the {name} {turn}", "sent_id": turn} for turn in range(2)],
            "raw_anns": json.dumps({"segmentation": [POLYGONS[name]], "iscrowd": 0}),
            "raw_image_info": json.dumps({"height": HEIGHT, "width": WIDTH, "file_name": "a.png"}),
            "image_path": "a.png",
        }
        for index, name in enumerate(("cat", "cup"))
    ]


def lvis(root: Path):
    image = {"id": 1, "height": HEIGHT, "width": WIDTH, "coco_url": "http://images.cocodataset.org/val2017/a.png"}
    image |= {"neg_category_ids": [3], "not_exhaustive_category_ids": [2]}
    write_pictures(root / "val2017", "a.png")
    annotations = [
        {
            "id": index,
            "image_id": 1,
            "category_id": index,
            "segmentation": [POLYGONS[name]],
            "area": 1,
            "bbox": [0, 0, 1, 1],
        }
        for index, name in ((1, "cat"), (2, "cup"))
    ]
    categories = [{"id": 1, "name": "baseball_bat"}, {"id": 2, "name": "bow_(weapon)"}, {"id": 3, "name": "bow_(tie)"}]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    return write_json(root / "annotations" / "lvis_v1_val.json", content)
