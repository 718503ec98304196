"""Scenes on disk, in the formats that the published data sets come in."""

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from lira_plugin.datasets.safe_pickle import safe_load
from lira_plugin.prepare.attreval_lines import REFSEG_FILE, VQA_FILE, lines_text
from lira_plugin.scenes.scene_attributes import attribute_lines, attribute_records
from lira_plugin.scenes.scene_drawing import Background, make_scene
from lira_plugin.scenes.scene_folder import SceneFolder
from lira_plugin.scenes.scene_levels import SceneLevel
from lira_plugin.scenes.scene_reason import REASON_SPLITS, reason_entry
from lira_plugin.scenes.scene_records import (
    IMAGE_IDS_PER_SPLIT,
    SPLITS,
    SceneRecords,
    caption_truth,
    described_instances,
    file_name_of,
    image_id_of,
    number_refs,
    shape_instances,
    text_only_records,
)
from lira_plugin.scenes.scene_suites import SUITE_ANNOTATIONS, SuiteRecords
from lira_plugin.structures import gcg_truth_files
from lira_plugin.written_aside import written_aside

GENERATOR_VERSION = 16
"""Raised whenever the same settings would give other scenes or files."""
_REASON_DONE = "questions.json"
"""Lists the pictures of ReasonSeg's folders, written after them."""


@dataclass(frozen=True)
class SceneFiles:
    """Where the files of :func:`write_scenes` are. File names inside of them are relative to ``images``.

    Args:
        root: the folder that holds everything.
    """

    root: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the files: the arguments of :func:`write_scenes` and the version of the generator."""
        return self.folder.settings()

    @property
    def folder(self) -> SceneFolder:
        """Says what the folder holds."""
        return SceneFolder(self.root, "scenes")

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
    def gcg(self) -> Path:
        """Folder with the ground truth of grounded captions, as GLaMM lays it out: val, and test (images of testA and testB)."""
        return self.root / "gcg"

    @property
    def coco_train(self) -> Path:
        """COCO instances of the train images; a category is a size and a colour with a shape, which is its supercategory."""
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

    @property
    def attributes_train(self) -> Path:
        """Yes-or-no questions about attributes that a sentence about a train image leaves out, laid out as LLaVA's."""
        return self.root / "llava" / "attributes_train.json"

    @property
    def attreval(self) -> Path:
        """Folder with AttrEval's files about val, testA and testB, as ``tools/build_attreval.py`` writes them."""
        return self.root / "attreval"

    @property
    def reason_seg(self) -> Path:
        """Folder with ``train``, ``val`` and ``test``: pictures with JSON files beside them, laid out as ReasonSeg."""
        return self.root / "reason_seg"

    @property
    def suites(self) -> Path:
        """Folder with questions about the val images, laid out as VQAv2, GQA, POPE, ScienceQA and MMBench."""
        return self.root / "suites"

    def annotations(self) -> tuple[Path, ...]:
        """All annotation files."""
        return (
            self.refcoco / "refs(unc).p",
            self.refcoco / "instances.json",
            self.grefcoco / "grefs(unc).json",
            self.grefcoco / "instances.json",
            self.grandf_train,
            self.grandf_val,
            *(path for split in ("val", "test") for path in gcg_truth_files(self.gcg, split)),
            self.coco_train,
            self.coco_val,
            self.llava_train,
            self.llava_val,
            self.attributes_train,
            self.attreval / VQA_FILE,
            self.attreval / REFSEG_FILE,
            self.reason_seg / _REASON_DONE,
            *(self.suites / name for name in SUITE_ANNOTATIONS),
        )

    def texts(self) -> Iterator[str]:
        """What a tokenizer is to learn: sentences and captions of all splits, questions and answers about the train images."""
        refs = safe_load(self.refcoco / "refs(unc).p")
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
    level: SceneLevel = "full",
) -> SceneFiles:
    """Write scenes as RefCOCO, gRefCOCO, GranDf-HA, COCO, LLaVA, ReasonSeg and AttrEval files, and as suites of questions.

    Scene number i of a split depends on ``seed``, the split and i alone. A folder that already holds these very scenes
    is left as it is; one that an interrupted call left behind is written anew.

    Args:
        root: folder to write to; made if missing.
        num_train: scenes of the train split.
        num_eval: scenes of each of val, testA and testB.
        seed: seed of all choices.
        size: longer side of the images.
        background: see :func:`lira_plugin.scenes.scene_drawing.make_scene`.
        progress: show a progress bar.
        level: see :func:`lira_plugin.scenes.scene_drawing.make_scene`.

    Raises:
        ValueError: the folder holds something else, or a number is out of range.
    """
    if not 0 < num_train < IMAGE_IDS_PER_SPLIT or not 0 < num_eval < IMAGE_IDS_PER_SPLIT:
        raise ValueError(
            f"num_train and num_eval must be positive and below {IMAGE_IDS_PER_SPLIT}, got {num_train} and {num_eval}"
        )
    files = SceneFiles(Path(root))
    settings = {"num_train": num_train, "num_eval": num_eval, "seed": seed, "size": size, "background": background}
    settings |= {"version": GENERATOR_VERSION} | ({} if level == "full" else {"level": level})
    if files.folder.holds(settings, lambda: _is_whole(files, settings)):
        return files

    # Refuses bad settings before anything is written.
    make_scene(np.random.default_rng(seed), size, background, level=level)
    files.images.mkdir(parents=True, exist_ok=True)
    files.folder.begin(settings)
    annotations = {split: SceneRecords(split) for split in SPLITS}
    suites = SuiteRecords("train2014")  # as files of images are called
    asked: list[str] = []
    for split, index in tqdm(_jobs(num_train, num_eval), desc="scenes", unit="scene", disable=not progress):
        rng = np.random.default_rng((seed, SPLITS.index(split), index))
        scene = make_scene(rng, size, background, level=level)
        name = annotations[split].add(scene, index, rng)
        ok, data = cv2.imencode(".jpg", scene.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not ok:
            raise OSError(f"OpenCV could not encode {name} as JPEG")
        (files.images / name).write_bytes(data.tobytes())
        if split == "val":
            picture = suites.add(scene, image_id_of(split, index), name, data.tobytes(), _suite_rng(seed, index))
            if picture is not None:
                (files.suites / picture).parent.mkdir(parents=True, exist_ok=True)
                (files.suites / picture).write_bytes(data.tobytes())
        entry = reason_entry(scene, index)
        if entry is not None:
            picture = files.reason_seg / REASON_SPLITS[split] / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(data.tobytes())
            picture.with_suffix(".json").write_text(json.dumps(entry))
            asked.append(str(picture.relative_to(files.reason_seg)))
    _write(files.reason_seg / _REASON_DONE, asked)
    _write_annotations(files, annotations, seed)
    for path, content in suites.files():
        _write(files.suites / path, content)
    files.folder.finish()
    return files


def _is_whole(files: SceneFiles, settings: dict[str, Any]) -> bool:
    """Whether all files of scenes with these settings are there."""
    if not all(path.is_file() for path in files.annotations()) or not files.images.is_dir():
        return False
    expected = {file_name_of(image_id_of(*job)) for job in _jobs(settings["num_train"], settings["num_eval"])}
    return expected <= set(os.listdir(files.images)) and _has_questions(files)


def _suite_rng(seed: int, index: int) -> np.random.Generator:
    """Makes the choices of the suites, so that those of the scenes do not depend on them."""
    return np.random.default_rng((seed, len(SPLITS), index))


def _has_questions(files: SceneFiles) -> bool:
    """Whether all pictures of ReasonSeg's folders are there, with their JSON files, and those of ScienceQA's."""
    problems = json.loads((files.suites / "scienceqa" / "problems.json").read_text())
    folder = files.suites / "scienceqa" / "images" / "test"
    if not all(entry["image"] is None or (folder / pid / entry["image"]).is_file() for pid, entry in problems.items()):
        return False
    pictures = [files.reason_seg / name for name in json.loads((files.reason_seg / _REASON_DONE).read_text())]
    return all(picture.is_file() and picture.with_suffix(".json").is_file() for picture in pictures)


def _jobs(num_train: int, num_eval: int) -> list[tuple[str, int]]:
    return [(split, index) for split in SPLITS for index in range(num_train if split == "train" else num_eval)]


def _write(path: Path, content: Any) -> None:
    with written_aside(path) as unfinished:
        unfinished.write_bytes(
            content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
        )


def _write_annotations(files: SceneFiles, annotations: dict[str, SceneRecords], seed: int) -> None:
    refs = number_refs([ref for split in SPLITS for ref in annotations[split].refs])
    grefs = number_refs([ref for split in ("train", "val") for ref in annotations[split].grefs])
    train, val = annotations["train"], annotations["val"]
    # through JSON, so that equal strings are equally (not) shared whatever the interpreter interns
    _write(files.refcoco / "refs(unc).p", pickle.dumps(json.loads(json.dumps(refs)), protocol=4))
    _write(files.refcoco / "instances.json", shape_instances(*annotations.values()))
    _write(files.grefcoco / "grefs(unc).json", grefs)
    _write(files.grefcoco / "instances.json", shape_instances(train, val))
    _write(files.grandf_train, train.grandf)
    _write(files.grandf_val, val.grandf)
    for split, entries in (("val", val.grandf), ("test", annotations["testA"].grandf + annotations["testB"].grandf)):
        for path, content in zip(gcg_truth_files(files.gcg, split), caption_truth(entries), strict=True):
            _write(path, content)
    _write(files.coco_train, described_instances(train))
    _write(files.coco_val, described_instances(val))
    _write(files.llava_train, train.llava + text_only_records())
    _write(files.llava_val, val.llava)
    _write(files.attributes_train, attribute_records(train, seed))
    asked = [records for split, records in annotations.items() if split != "train"]
    for name, lines in zip((VQA_FILE, REFSEG_FILE), attribute_lines(asked, seed)):
        _write(files.attreval / name, lines_text(lines).encode())
