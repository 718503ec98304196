"""Faults planted into files of every format, by changing their JSON, pickles and pictures: one list says what and where.

Sound files are scenes in the layouts of RefCOCO, GranDf, LLaVA and ReasonSeg, and the same scenes as captions of RefCOCOg and
Flickr, and COCO with phrases. Each fault is in a record of its own.
"""

import json
import pickle
import random
from collections import Counter
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

Fault = tuple[str, str, str]
"""Source, record, kind."""


def read(path: Path) -> Any:
    return pickle.loads(path.read_bytes()) if path.suffix == ".p" else json.loads(path.read_text())


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 2) if path.suffix == ".p" else json.dumps(content).encode())


def write_further_formats(root: Path) -> None:
    """Captions as RefCOCOg's and Flickr's, and COCO with polygons, of the scenes below ``root``."""
    captions = read(root / "grandf/scenes_GCG_train.json")
    refcocog, flickr = [], {"images": [], "annotations": []}
    for record in captions:
        parts = list(record["groundings"].items())
        refs = [{"sentence": name, "bbox": [0, 0, 1, 1], "segmentation": part["rle_masks"][0]} for name, part in parts]
        picture = {"img_file_name": record["file_name"], "caption": record["caption"], "refs": refs}
        refcocog.append({f"c{record['image_id']}": picture})
        image_id = int(record["image_id"])
        image = {key: record[key] for key in ("file_name", "height", "width", "caption")}
        flickr["images"].append({"id": image_id, **image})
        flickr["annotations"] += [
            {
                "id": 100 * image_id + index,
                "image_id": image_id,
                "bbox": [1, 1, 9, 9],
                "area": 81,
                "tokens_positive": [part["token_positives"]],
                "sam_mask": part["rle_masks"][0],
            }
            for index, (_, part) in enumerate(parts)
        ]
    write(root / "further/refcocog.json", refcocog)
    write(root / "further/flickr.json", flickr)
    coco = read(root / "coco/instances_train.json")
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    write(root / "further/phrases.json", coco)


def further_parts(root: Path) -> list[dict[str, Any]]:
    """Data sets of a recipe that read the further formats, and ReasonSeg."""
    images = str(root / "images")
    return [
        *(
            {
                "type": "lira_plugin.GCGDataset",
                "ann_file": str(root / f"further/{name}.json"),
                "image_root": images,
                "layout": name,
            }
            for name in ("refcocog", "flickr")
        ),
        {
            "type": "lira_plugin.CocoPhraseDataset",
            "ann_file": str(root / "further/phrases.json"),
            "image_root": images,
            "source": "own/train",
            "num_expressions": 2,
        },
        {
            "type": "lira_plugin.ReasonSegDataset",
            "data_root": str(root / "reason_seg"),
            "split": "train",
            "num_questions": 2,
        },
    ]


class Planter:
    """Plants faults into the files below ``root`` and lists them in ``planted``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.planted: list[Fault] = []

    def picture(self, name: str, like: str, change: str = "") -> str:
        """A copy of a picture under another name, spoilt; its name."""
        content = (self.root / "images" / like).read_bytes()
        if change == "cut":
            content = content[: len(content) // 2]
        elif change == "noise":
            content = random.Random(0).randbytes(400)
        elif change == "turned":
            exif = Image.Exif()
            exif[0x0112] = 6
            stream = BytesIO()
            Image.open(BytesIO(content)).save(stream, "JPEG", exif=exif)
            content = stream.getvalue()
        (self.root / "images" / name).write_bytes(content)
        return name

    def add(self, source: str, record: Any, kind: str) -> None:
        self.planted.append((source, str(record), kind))

    def all(self) -> list[Fault]:
        """Plant everything."""
        for plant in (self.refcoco, self.grandf, self.llava, self.coco, self.captions, self.reason):
            plant()
        return self.planted

    def refcoco(self) -> None:
        source, folder = "refcoco/train", self.root / "refcoco"
        refs, instances = read(folder / "refs(unc).p"), read(folder / "instances.json")
        in_train = {ref["image_id"] for ref in refs if ref["split"] == "train"}
        images = [image for image in instances["images"] if image["id"] in in_train]
        for image, kind, change in (
            (images[0], "missing_image", None),
            (images[1], "truncated_image", "cut"),
            (images[2], "exif_orientation", "turned"),
        ):
            name = f"refer_{kind}.jpg"
            image["file_name"] = name if change is None else self.picture(name, image["file_name"], change)
            self.add(source, f"image {image['id']}", kind)
        images[3]["height"] += 10
        self.add(source, f"image {images[3]['id']}", "image_size")

        own = {ref["image_id"]: ref for ref in reversed(refs) if ref["split"] == "train"}
        of_image = [own[image["id"]] for image in images]
        by_id = {annotation["id"]: annotation for annotation in instances["annotations"]}
        masks = [by_id[ref["ann_id"]] for ref in of_image]
        height, width = images[4]["height"], images[4]["width"]
        masks[4]["segmentation"] = {"size": [height, width], "counts": [5, height * width]}
        height, width = images[5]["height"], images[5]["width"]
        masks[5]["segmentation"] = {"size": [height + 8, width], "counts": [5, (height + 8) * width - 5]}
        height, width = images[6]["height"], images[6]["width"]
        masks[6]["segmentation"] = {"size": [height, width], "counts": [height * width]}
        masks[7]["bbox"][2] = float("nan")
        for mask, kind in zip(masks[4:8], ("bad_rle", "mask_size", "empty_mask", "non_finite"), strict=True):
            self.add(source, f"annotation {mask['id']}", kind)
        instances["annotations"].append(deepcopy(masks[8]))
        self.add(source, f"annotation {masks[8]['id']}", "duplicate_id")

        ref = of_image[9]
        ref["sentences"][0]["sent"] = " "
        self.add(source, f"{ref['ref_id']}-{ref['sentences'][0]['sent_id']}", "empty_text")
        ref = of_image[10]
        ref["sentences"].append({**ref["sentences"][0], "sent_id": 70001})
        self.add(source, f"{ref['ref_id']}-70001", "duplicate_sentence")
        ref = of_image[11]
        ref["sentences"][0]["sent"] = "the <seg> star"
        self.add(source, f"{ref['ref_id']}-{ref['sentences'][0]['sent_id']}", "special_token")
        of_image[12]["ann_id"] = 99999
        self.add(source, f"ref {of_image[12]['ref_id']}", "unknown_id")
        refs.append(deepcopy(of_image[13]))
        self.add(source, f"ref {of_image[13]['ref_id']}", "duplicate_id")
        of_image[14]["sentences"] = None
        self.add(source, f"ref {of_image[14]['ref_id']}", "layout")
        leaking = deepcopy(next(ref for ref in refs if ref["split"] == "val"))
        leaking.update(ref_id=80001, split="train")
        refs.append(leaking)
        self.add(source, f"image {leaking['image_id']}", "leakage")
        write(folder / "refs(unc).p", refs)
        write(folder / "instances.json", instances)

    def grandf(self) -> None:
        source, path = "gcg/grandf", self.root / "grandf/scenes_GCG_train.json"
        records = sorted(read(path), key=lambda record: -len(record["groundings"]))
        first = {index: next(iter(record["groundings"].items())) for index, record in enumerate(records)}
        records[0]["file_name"] = self.picture("grandf_noise.jpg", records[0]["file_name"], "noise")
        groundings = records[1]["groundings"]
        groundings["a purple cow"] = groundings.pop(first[1][0])
        first[2][1]["token_positives"] = [0, 4000]
        (start, end), other = first[3][1]["token_positives"], list(records[3]["groundings"].values())[1]
        other["token_positives"] = [end - 2, end + 6]
        assert start < end - 2
        first[4][1]["rle_masks"] = []
        counts = first[5][1]["rle_masks"][0]["counts"]
        first[5][1]["rle_masks"][0]["counts"] = counts[: len(counts) // 2]
        records[6]["caption"] = None
        records[7]["caption"] += " It is there." * 200
        records[8]["caption"] += " <image_id>"
        start, end = first[9][1]["token_positives"]
        first[9][1]["token_positives"] = [start + 2, end]
        first[10][1]["rle_masks"][0]["size"].reverse()
        kinds = ["undecodable_image", "phrase_not_in_caption", "span_outside", "spans_cross", "seg_mask_mismatch"]
        kinds += ["bad_rle", "layout", "over_long", "special_token", "span_words", "mask_size"]
        for record, kind in zip(records, kinds, strict=False):
            self.add(source, record["image_id"], kind)
        records += [deepcopy(records[11]), {**deepcopy(records[12]), "image_id": "again"}]
        self.add(source, records[11]["image_id"], "duplicate_id")
        self.add(source, "again", "duplicate_sentence")
        write(path, records)

    def llava(self) -> None:
        source, path = "llava", self.root / "llava/scenes_train.json"
        records = read(path)
        records[0]["conversations"].reverse()
        records[1]["conversations"][1]["value"] += " <seg>"
        records[2]["image"] = "gone.jpg"
        records[3]["video"] = "a.mp4"
        records[4]["conversations"][1]["value"] = ""
        records[5]["conversations"][1]["value"] = "It is there. " * 300
        records[6]["score"] = float("inf")
        kinds = ["layout", "special_token", "missing_image", "other_input", "empty_text", "over_long", "non_finite"]
        for record, kind in zip(records, kinds, strict=False):
            self.add(source, record["id"], kind)
        records.append(deepcopy(records[7]))
        self.add(source, records[7]["id"], "duplicate_sentence")
        write(path, records)
        content = path.read_text()
        at = content.index(f'{{"id": "{records[8]["id"]}",') + 1
        path.write_text(content[:at] + '"conversations": [], ' + content[at:])
        self.add(source, records[8]["id"], "duplicate_key")

    def coco(self) -> None:
        source, path = "own/train", self.root / "further/phrases.json"
        content = read(path)
        by_image = {annotation["image_id"]: annotation for annotation in content["annotations"]}
        own = list(by_image.values())
        own[0]["segmentation"] = [[1, 1, 500, 1, 500, 40]]
        own[1]["segmentation"] = [[5, 5, 5, 5, 5, 5]]
        own[2]["segmentation"] = [[1, 1, 9, 9]]
        del own[3]["segmentation"]
        own[4]["category_id"] = 99999
        own[5]["segmentation"] = [[1, 1, float("nan"), 1, 9, 9]]
        kinds = ["mask_outside_image", "zero_area_mask", "bad_polygon", "seg_mask_mismatch", "unknown_id", "non_finite"]
        for annotation, kind in zip(own, kinds, strict=False):
            self.add(source, f"annotation {annotation['id']}", kind)
        content["images"].append(deepcopy(content["images"][9]))
        self.add(source, f"image {content['images'][9]['id']}", "duplicate_id")
        write(path, content)

    def captions(self) -> None:
        path = self.root / "further/refcocog.json"
        records = read(path)
        (record_id, record), *_ = records[0].items()
        record["refs"][0]["sentence"] = "a purple cow"
        self.add("gcg/refcocog", record_id, "phrase_not_in_caption")
        write(path, records)
        path = self.root / "further/flickr.json"
        content = read(path)
        counts = Counter(annotation["image_id"] for annotation in content["annotations"])
        by_image = {one["image_id"]: one for one in content["annotations"] if counts[one["image_id"]] > 1}
        broken, crossing, *_ = by_image.values()
        broken["bbox"] = [5, 5, 0, 9]
        self.add("gcg/flickr", f"annotation {broken['id']}", "zero_area_mask")
        start, end = next(
            one["tokens_positive"][0] for one in content["annotations"] if one["image_id"] == crossing["image_id"]
        )
        crossing["tokens_positive"] = [[end - 2, end + 3]]
        self.add("gcg/flickr", f"annotation {crossing['id']}", "spans_cross")
        write(path, content)

    def reason(self) -> None:
        source, folder = "reasonseg/train", self.root / "reason_seg/train"
        paths = sorted(folder.glob("*.json"))
        changes = [
            ("duplicate_sentence", lambda entry: entry["text"].append(entry["text"][0])),
            ("mask_outside_image", lambda entry: entry["shapes"][0]["points"][0].__setitem__(0, 900)),
            ("layout", lambda entry: entry.update(is_sentence="yes")),
        ]
        for path, (kind, change) in zip(paths, changes, strict=False):
            entry = read(path)
            change(entry)
            write(path, entry)
            self.add(source, path.stem, kind)
        picture = paths[3].with_suffix(".jpg")
        picture.write_bytes(picture.read_bytes()[:300])
        self.add(source, picture.stem, "truncated_image")
