"""Scenes as records of the formats that the published data sets come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from lira_plugin.scenes.scene_drawing import Scene, SceneObject
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, SIZES, absent_name, group_sentences
from lira_plugin.structures import decode_union, encode_mask

SPLITS = ("train", "val", "testA", "testB")
"""Splits of the referring expressions; their images are disjoint."""
ROUND_CATEGORIES = ("circle", "ring")
"""The categories that testA asks for; testB asks for the others."""
IMAGE_IDS_PER_SPLIT = 10_000_000
"""A split has fewer scenes than this, so that image ids never meet."""

_ANNOTATIONS_PER_IMAGE = 10
CAPTION_REQUEST = "Describe the image."
"""The question that scenes' captions answer."""
_TEXT_ONLY = (
    (("How many sides does a square have?", "4"), ("How many sides does a triangle have?", "3")),
    (("Is a circle round?", "yes"), ("Is a square round?", "no")),
)


def image_id_of(split: str, index: int) -> int:
    """COCO id of the image of a scene."""
    return SPLITS.index(split) * IMAGE_IDS_PER_SPLIT + index + 1


def file_name_of(image_id: int) -> str:
    """File name of an image, as in COCO."""
    return f"COCO_train2014_{image_id:012d}.jpg"


def number_refs(refs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give refs and sentences their ids, in order; return the refs."""
    sent_id = 0
    for ref_id, ref in enumerate(refs):
        ref["ref_id"] = ref_id
        ref["sent_ids"] = []
        for sentence in ref["sentences"]:
            sentence["sent_id"] = sent_id
            ref["sent_ids"].append(sent_id)
            sent_id += 1
    return refs


def shape_instances(*splits: "SceneRecords") -> dict[str, Any]:
    """COCO instances whose categories are the shapes."""
    return {
        "images": [image for split in splits for image in split.images],
        "annotations": [instance for split in splits for instance in split.instances],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CATEGORIES, start=1)],
    }


def described_instances(split: "SceneRecords") -> dict[str, Any]:
    """COCO instances whose categories are a size and a colour with a shape, which is the supercategory."""
    names = [f"{size} {colour} {shape}" for shape, colour, size in product(CATEGORIES, COLOURS, SIZES)]
    return shape_instances(split) | {
        "annotations": [
            instance | {"category_id": names.index(name) + 1} for instance, name in zip(split.instances, split.names)
        ],
        "categories": [
            {"id": index, "name": name, "supercategory": name.split()[-1]} for index, name in enumerate(names, start=1)
        ],
    }


def caption_truth(entries: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Records of GranDf-HA as the ground truth of grounded captions: GLaMM's COCO files of masks and of captions."""
    images, masks, captions = [], [], []
    for entry in entries:
        stem = entry["file_name"].rpartition(".")[0]
        images.append({"id": stem} | {key: entry[key] for key in ("file_name", "height", "width")})
        for grounding in entry["groundings"].values():
            mask = decode_union(grounding["rle_masks"], entry["height"], entry["width"])
            masks.append(
                {
                    "id": len(masks) + 1,
                    "image_id": stem,
                    "category_id": 1,
                    "segmentation": encode_mask(mask),
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
            )
        labels = list(entry["groundings"])
        captions.append({"id": len(captions) + 1, "image_id": stem, "caption": entry["caption"], "labels": labels})
    return (
        {"info": {}, "images": images, "annotations": masks, "categories": [{"id": 1, "name": "object"}]},
        {"info": {}, "images": images, "annotations": captions},
    )


def text_only_records() -> list[dict[str, Any]]:
    """LLaVA records without an image."""
    return [llava_record(f"text-{index}", None, turns) for index, turns in enumerate(_TEXT_ONLY)]


def _sentence(text: str) -> dict[str, Any]:
    return {"sent": text, "raw": text.capitalize(), "tokens": text.split()}


def llava_record(record_id: str, image: str | None, turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A LLaVA record of (question, answer) pairs about an image, or without one."""
    conversations = []
    for index, (question, answer) in enumerate(turns):
        marker = "<image>\n" if image and not index else ""
        conversations.append({"from": "human", "value": marker + question})
        conversations.append({"from": "gpt", "value": answer})
    return {"id": record_id, "conversations": conversations} | ({"image": image} if image else {})


def _counts(mask: np.ndarray) -> list[int]:
    """Uncompressed RLE: lengths of the runs in column order, the first of them of zeros."""
    column_order = mask.ravel(order="F")
    changes = np.flatnonzero(column_order[1:] != column_order[:-1]) + 1
    runs = np.diff(changes, prepend=0, append=column_order.size).tolist()
    return [0, *runs] if column_order[0] else runs


def _segmentation(thing: SceneObject) -> list[list[float]] | dict[str, Any]:
    if thing.polygon is not None:
        return [list(thing.polygon)]
    return {"size": list(thing.mask.shape), "counts": _counts(thing.mask)}


@dataclass
class SceneRecords:
    """The records of one split: :meth:`add` a scene after the other, then read the lists.

    ``images`` and ``instances`` are COCO's entries, ``refs`` and ``grefs`` are RefCOCO's and gRefCOCO's refs, still to be
    numbered (:func:`number_refs`), ``grandf`` and ``llava`` are records of GranDf-HA and LLaVA.
    """

    split: str
    images: list[dict[str, Any]] = field(default_factory=list)
    instances: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Size, colour and shape of each instance."""
    refs: list[dict[str, Any]] = field(default_factory=list)
    grefs: list[dict[str, Any]] = field(default_factory=list)
    grandf: list[dict[str, Any]] = field(default_factory=list)
    llava: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scene: Scene, index: int, rng: np.random.Generator) -> str:
        """Add the records of a scene and return the file name of its image."""
        image_id = image_id_of(self.split, index)
        height, width = scene.image.shape[:2]
        name = file_name_of(image_id)
        image = {"id": image_id, "file_name": name, "height": height, "width": width}
        self.images.append(image)
        self._add_objects(scene, image_id, name)
        self._add_caption(scene, image)
        if self.split in ("train", "val"):
            self._add_group_sentences(scene, image_id, name, rng)
            turns = [(question.question, question.answer) for question in scene.questions]
            turns.append((CAPTION_REQUEST, scene.caption.text))
            order = rng.permutation(len(turns))  # so that each kind of question comes first now and then
            self.llava.append(llava_record(str(image_id), name, [turns[position] for position in order]))
        return name

    def _add_objects(self, scene: Scene, image_id: int, name: str) -> None:
        for index, (thing, sentences) in enumerate(zip(scene.objects, scene.sentences)):
            instance = {
                "id": image_id * _ANNOTATIONS_PER_IMAGE + index,
                "image_id": image_id,
                "category_id": CATEGORIES.index(thing.category) + 1,
                "bbox": list(thing.bbox),
                "area": thing.area,
                "iscrowd": 0,
                "segmentation": _segmentation(thing),
            }
            self.instances.append(instance)
            self.names.append(f"{thing.size} {thing.colour} {thing.category}")
            is_round = thing.category in ROUND_CATEGORIES
            if not sentences or (self.split == "testA" and not is_round) or (self.split == "testB" and is_round):
                continue
            self.refs.append(
                {
                    "ann_id": instance["id"],
                    "image_id": image_id,
                    "category_id": instance["category_id"],
                    "split": self.split,
                    "file_name": name,
                    "sentences": [_sentence(sentence.text) for sentence in sentences],
                }
            )

    def _add_group_sentences(self, scene: Scene, image_id: int, name: str, rng: np.random.Generator) -> None:
        """Up to two single objects, up to two groups, and one or two names of nothing."""
        targets: list[tuple[str, tuple[int, ...]]] = []
        told = [index for index, sentences in enumerate(scene.sentences) if sentences]
        for position in rng.permutation(len(told))[:2].tolist():
            sentences = scene.sentences[told[position]]
            targets.append((sentences[int(rng.random() * len(sentences))].text, (told[position],)))
        groups = group_sentences(scene.objects)
        targets += [groups[position] for position in rng.permutation(len(groups))[:2].tolist()]
        absent = {absent_name(scene.objects, rng) for _ in range(1 + int(rng.random() < 0.6))}
        targets += [(text, ()) for text in sorted(absent)]
        for text, members in targets:
            self.grefs.append(
                {
                    "ann_id": [image_id * _ANNOTATIONS_PER_IMAGE + member for member in members] or [-1],
                    "image_id": image_id,
                    "category_id": [CATEGORIES.index(scene.objects[m].category) + 1 for m in members] or [-1],
                    "split": self.split,
                    "file_name": name,
                    "no_target": not members,
                    "sentences": [_sentence(text)],
                }
            )

    def _add_caption(self, scene: Scene, image: dict[str, Any]) -> None:
        groundings = {
            scene.caption.phrase(span): {
                "token_positives": [span.start, span.end],
                "rle_masks": [encode_mask(scene.objects[index].mask) for index in span.objects],
            }
            for span in scene.caption.spans
        }
        self.grandf.append(
            {
                "file_name": image["file_name"],
                "height": image["height"],
                "width": image["width"],
                "image_id": str(image["id"]),
                "caption": scene.caption.text,
                "groundings": groundings,
            }
        )
