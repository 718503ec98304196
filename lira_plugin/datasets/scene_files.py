"""Scenes on disk, in the formats that the published data sets come in."""

import json
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from tqdm import tqdm

from lira_plugin.datasets.scene_language import CATEGORIES, COLOURS, absent_name, group_sentences
from lira_plugin.datasets.scenes import Background, Scene, SceneObject, make_scene
from lira_plugin.structures import encode_mask

GENERATOR_VERSION = 2
"""Raised whenever the same settings would give other scenes or files."""
SPLITS = ("train", "val", "testA", "testB")
"""Splits of the referring expressions; their images are disjoint."""
ROUND_CATEGORIES = ("circle", "ring")
"""The categories that testA asks for; testB asks for the others."""

_IMAGE_IDS_PER_SPLIT = 10_000_000
_ANNOTATIONS_PER_IMAGE = 10
_DONE, _PARTIAL = "scenes.json", "scenes.partial.json"
CAPTION_REQUEST = "Describe the image."
"""The question that scenes' captions answer."""
_TEXT_ONLY = (
    (("How many sides does a square have?", "4"), ("How many sides does a triangle have?", "3")),
    (("Is a circle round?", "yes"), ("Is a square round?", "no")),
)


@dataclass(frozen=True)
class SceneFiles:
    """Where the files of :func:`write_scenes` are. File names inside of them are relative to ``images``.

    Args:
        root: the folder that holds everything.
    """

    root: Path

    @property
    def images(self) -> Path:
        """Folder of all images."""
        return self.root / "images"

    @property
    def refcoco(self) -> Path:
        """Folder with ``refs(unc).p`` (train, val, testA, testB) and ``instances.json``."""
        return self.root / "refcoco"

    @property
    def grefcoco(self) -> Path:
        """Folder with ``grefs(unc).json`` (train, val) and ``instances.json``."""
        return self.root / "grefcoco"

    @property
    def grandf_train(self) -> Path:
        """Grounded captions of the train images, laid out as GranDf-HA."""
        return self.root / "grandf" / "scenes_GCG_train.json"

    @property
    def grandf_val(self) -> Path:
        """Grounded captions of the val images."""
        return self.root / "grandf" / "scenes_GCG_val.json"

    @property
    def coco_train(self) -> Path:
        """COCO instances of the train images; a category is a colour with a shape, which is its supercategory."""
        return self.root / "coco" / "instances_train.json"

    @property
    def coco_val(self) -> Path:
        """COCO instances of the val images."""
        return self.root / "coco" / "instances_val.json"

    @property
    def llava_train(self) -> Path:
        """Questions and captions of the train images, and two records without an image, laid out as LLaVA's."""
        return self.root / "llava" / "scenes_train.json"

    @property
    def llava_val(self) -> Path:
        """Questions and captions of the val images."""
        return self.root / "llava" / "scenes_val.json"

    def annotations(self) -> tuple[Path, ...]:
        """All annotation files."""
        return (
            self.refcoco / "refs(unc).p",
            self.refcoco / "instances.json",
            self.grefcoco / "grefs(unc).json",
            self.grefcoco / "instances.json",
            self.grandf_train,
            self.grandf_val,
            self.coco_train,
            self.coco_val,
            self.llava_train,
            self.llava_val,
        )

    def texts(self) -> Iterator[str]:
        """Every sentence, caption, question and answer in the files, of all splits; what a tokenizer is to learn."""
        refs = pickle.loads((self.refcoco / "refs(unc).p").read_bytes())
        for ref in refs + json.loads((self.grefcoco / "grefs(unc).json").read_text()):
            for sentence in ref["sentences"]:
                yield sentence["sent"]
        for record in json.loads(self.grandf_train.read_text()) + json.loads(self.grandf_val.read_text()):
            yield record["caption"]
        for record in json.loads(self.llava_train.read_text()):
            for turn in record["conversations"]:
                yield turn["value"].removeprefix("<image>\n")


def write_scenes(
    root: str | os.PathLike,
    num_train: int,
    num_eval: int,
    seed: int = 0,
    size: int = 128,
    background: Background = "plain",
    progress: bool = True,
) -> SceneFiles:
    """Write scenes as RefCOCO, gRefCOCO, GranDf-HA, COCO and LLaVA files.

    Scene number i of a split depends on ``seed``, the split and i alone. A folder that already holds these very scenes
    is left as it is; one that an interrupted call left behind is written anew.

    Args:
        root: folder to write to; made if missing.
        num_train: scenes of the train split.
        num_eval: scenes of each of val, testA and testB.
        seed: seed of all choices.
        size: longer side of the images.
        background: see :func:`lira_plugin.datasets.scenes.make_scene`.
        progress: show a progress bar.

    Raises:
        ValueError: the folder holds something else, or a number is out of range.
    """
    if not 0 < num_train < _IMAGE_IDS_PER_SPLIT or not 0 < num_eval < _IMAGE_IDS_PER_SPLIT:
        raise ValueError(
            f"num_train and num_eval must be positive and below {_IMAGE_IDS_PER_SPLIT}, got {num_train} and {num_eval}"
        )
    files = SceneFiles(Path(root))
    settings = {"num_train": num_train, "num_eval": num_eval, "seed": seed, "size": size, "background": background}
    settings["version"] = GENERATOR_VERSION
    if _is_written(files, settings):
        return files
    make_scene(np.random.default_rng(seed), size, background)  # refuses bad settings before anything is written
    files.images.mkdir(parents=True, exist_ok=True)
    _write(files.root / _PARTIAL, settings)
    (files.root / _DONE).unlink(missing_ok=True)
    annotations = {split: _Annotations(split) for split in SPLITS}
    for split, index in tqdm(_jobs(num_train, num_eval), desc="scenes", unit="scene", disable=not progress):
        rng = np.random.default_rng((seed, SPLITS.index(split), index))
        scene = make_scene(rng, size, background)
        name = annotations[split].add(scene, index, rng)
        ok, data = cv2.imencode(".jpg", scene.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not ok:
            raise OSError(f"OpenCV could not encode {name} as JPEG")
        (files.images / name).write_bytes(data.tobytes())
    _write_annotations(files, annotations)
    os.replace(files.root / _PARTIAL, files.root / _DONE)
    return files


def _is_written(files: SceneFiles, settings: dict[str, Any]) -> bool:
    """Whether the folder holds these scenes, whole; raises where it holds anything else that should be kept."""
    way_on = "Choose another folder, delete this one, or call with the settings it was written with."
    found = None
    for name in (_DONE, _PARTIAL):
        if (files.root / name).is_file():
            try:
                found = json.loads((files.root / name).read_text())
            except ValueError:
                raise ValueError(f"{files.root / name} is not readable as JSON. {way_on}") from None
            break
    if found is None:
        if files.root.exists() and any(files.root.iterdir()):
            raise ValueError(f"{files.root} is not empty and holds no scenes ({_DONE} is missing). {way_on}")
        return False
    if found != settings:
        changed = {key for key in found.keys() | settings.keys() if found.get(key) != settings.get(key)}
        detail = ", ".join(f"{key} {found.get(key)!r} there, {settings.get(key)!r} asked" for key in sorted(changed))
        raise ValueError(f"{files.root} holds other scenes: {detail}. {way_on}")
    if name == _DONE and all(path.is_file() for path in files.annotations()) and files.images.is_dir():
        expected = {_file_name(_image_id(*job)) for job in _jobs(settings["num_train"], settings["num_eval"])}
        if expected <= set(os.listdir(files.images)):
            return True
    print_log(
        f"{files.root} holds these scenes in part, an earlier call was interrupted or files were removed: writing anew",
        logger="current",
        level=logging.WARNING,
    )
    return False


def _jobs(num_train: int, num_eval: int) -> list[tuple[str, int]]:
    return [(split, index) for split in SPLITS for index in range(num_train if split == "train" else num_eval)]


def _image_id(split: str, index: int) -> int:
    return SPLITS.index(split) * _IMAGE_IDS_PER_SPLIT + index + 1


def _file_name(image_id: int) -> str:
    return f"COCO_train2014_{image_id:012d}.jpg"


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode())


def _write_annotations(files: SceneFiles, annotations: dict[str, "_Annotations"]) -> None:
    refs = _numbered([ref for split in SPLITS for ref in annotations[split].refs])
    grefs = _numbered([ref for split in ("train", "val") for ref in annotations[split].grefs])
    train, val = annotations["train"], annotations["val"]
    texts = [_llava_record(f"text-{number}", None, turns) for number, turns in enumerate(_TEXT_ONLY)]
    # through JSON, so that equal strings are equally (not) shared whatever the interpreter interns
    _write(files.refcoco / "refs(unc).p", pickle.dumps(json.loads(json.dumps(refs)), protocol=4))
    _write(files.refcoco / "instances.json", _instances(*annotations.values()))
    _write(files.grefcoco / "grefs(unc).json", grefs)
    _write(files.grefcoco / "instances.json", _instances(train, val))
    _write(files.grandf_train, train.grandf)
    _write(files.grandf_val, val.grandf)
    _write(files.coco_train, _coloured_instances(train))
    _write(files.coco_val, _coloured_instances(val))
    _write(files.llava_train, train.llava + texts)
    _write(files.llava_val, val.llava)


def _numbered(refs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number refs and sentences through."""
    sent_id = 0
    for ref_id, ref in enumerate(refs):
        ref["ref_id"] = ref_id
        ref["sent_ids"] = []
        for sentence in ref["sentences"]:
            sentence["sent_id"] = sent_id
            ref["sent_ids"].append(sent_id)
            sent_id += 1
    return refs


def _instances(*splits: "_Annotations") -> dict[str, Any]:
    return {
        "images": [image for split in splits for image in split.images],
        "annotations": [instance for split in splits for instance in split.instances],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, start=1)],
    }


def _coloured_instances(split: "_Annotations") -> dict[str, Any]:
    names = [f"{colour} {shape}" for shape, colour in product(CATEGORIES, COLOURS)]
    return _instances(split) | {
        "annotations": [
            instance | {"category_id": names.index(name) + 1} for instance, name in zip(split.instances, split.names)
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": name.split()[1]} for number, name in enumerate(names, start=1)
        ],
    }


def _sentence(text: str) -> dict[str, Any]:
    return {"sent": text, "raw": text.capitalize(), "tokens": text.split()}


def _llava_record(record_id: str, image: str | None, turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    conversations = []
    for number, (question, answer) in enumerate(turns):
        marker = "<image>\n" if image and not number else ""
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
class _Annotations:
    """The records of one split so far."""

    split: str
    images: list[dict[str, Any]] = field(default_factory=list)
    instances: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Colour and shape of each instance."""
    refs: list[dict[str, Any]] = field(default_factory=list)
    grefs: list[dict[str, Any]] = field(default_factory=list)
    grandf: list[dict[str, Any]] = field(default_factory=list)
    llava: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scene: Scene, index: int, rng: np.random.Generator) -> str:
        """Add the records of a scene and return the file name of its image."""
        image_id = _image_id(self.split, index)
        height, width = scene.image.shape[:2]
        name = _file_name(image_id)
        image = {"id": image_id, "file_name": name, "height": height, "width": width}
        self.images.append(image)
        self._add_objects(scene, image_id, name)
        if self.split in ("train", "val"):
            self._add_group_sentences(scene, image_id, name, rng)
            self._add_caption(scene, image)
            turns = [(question.question, question.answer) for question in scene.questions]
            self.llava.append(_llava_record(f"{image_id}-vqa", name, turns))
            self.llava.append(_llava_record(f"{image_id}-caption", name, [(CAPTION_REQUEST, scene.caption.text)]))
        return name

    def _add_objects(self, scene: Scene, image_id: int, name: str) -> None:
        for number, (thing, sentences) in enumerate(zip(scene.objects, scene.sentences)):
            instance = {
                "id": image_id * _ANNOTATIONS_PER_IMAGE + number,
                "image_id": image_id,
                "category_id": CATEGORIES.index(thing.category) + 1,
                "bbox": list(thing.bbox),
                "area": thing.area,
                "iscrowd": 0,
                "segmentation": _segmentation(thing),
            }
            self.instances.append(instance)
            self.names.append(f"{thing.colour} {thing.category}")
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
