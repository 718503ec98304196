"""Scenes with fine detail on disk, in the formats that the published data sets come in."""

import json
import os
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from lira_plugin.scenes.scene_folder import SceneFolder
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS
from lira_plugin.scenes.scene_marks import DETAIL_SIZE, MARKS, PLAIN, Habit, MarkedScene, make_marked_scene, marked_name
from lira_plugin.scenes.scene_records import SceneRecords, file_name_of, image_id_of, number_refs, shape_instances
from lira_plugin.structures import encode_mask
from lira_plugin.written_aside import write_json, write_json_list, write_text, written_aside

DETAIL_VERSION = 1
"""Raised whenever the same settings would give other scenes or files."""
DETAIL_HABITS: dict[str, Habit] = {"train": "usual", "val": "even"}
"""The splits, and how shape and mark go together in each."""
MARKED_NAMES = tuple(
    marked_name(colour, shape, mark) for shape, colour, mark in product(CATEGORIES, COLOURS, ("", *MARKS))
)
"""The categories of the instances, in the order of their ids (from 1): a shape, a colour, and a mark or none."""


@dataclass(frozen=True)
class DetailFiles:
    """Where the files of :func:`write_detail_scenes` are.

    Args:
        root: the folder that holds everything. ``refcoco`` has sentences that name no marks, ``marks`` those that do, laid out
            as RefCOCO; both have the splits of :data:`DETAIL_HABITS`.
    """

    root: Path

    @property
    def folder(self) -> SceneFolder:
        """Says what the folder holds."""
        return SceneFolder(self.root, "detail")

    @property
    def images(self) -> Path:
        """Folder of all images."""
        return self.root / "images"

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer."""
        return self.root / "tokenizer"

    def captions(self, split: str) -> Path:
        """Grounded captions that name the mark of each object, laid out as GranDf-HA."""
        return self.root / "grandf" / f"{split}.json"

    def instances(self, split: str) -> Path:
        """COCO instances; a category is one of :data:`MARKED_NAMES`, its shape is the supercategory."""
        return self.root / "coco" / f"instances_{split}.json"

    def questions(self, split: str) -> Path:
        """Questions for marks: JSON Lines of grounded answers that end with yes or no."""
        return self.root / "questions" / f"{split}.jsonl"

    def llava(self, split: str) -> Path:
        """Captions without masks and questions for colours, laid out as LLaVA's."""
        return self.root / "llava" / f"{split}.json"


@dataclass
class _Split:
    """The records of one split: those that say nothing of marks, and those that do."""

    records: SceneRecords
    names: list[str] = field(default_factory=list)
    refs: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, marked: MarkedScene, index: int, rng: np.random.Generator) -> str:
        """Add a scene and return the file name of its image."""
        first = len(self.records.instances)
        name = self.records.add(marked.scene, index, rng)
        instances = self.records.instances[first:]
        things = marked.scene.objects
        self.names += [marked_name(thing.colour, thing.category, mark) for thing, mark in zip(things, marked.marks)]
        for position, text in zip(marked.pair, marked.sentences):
            instance = instances[position]
            self.refs.append(
                {key: instance[key] for key in ("image_id", "category_id")}
                | {"ann_id": instance["id"], "split": self.records.split, "file_name": name}
                | {"sentences": [{"sent": text, "raw": text.capitalize(), "tokens": text.split()}]}
            )
        for turn, question in enumerate(marked.questions):
            mask = encode_mask(things[question.object].mask)
            self.questions.append(
                {
                    "id": f"{instances[0]['image_id']}-{turn}-{question.label}",
                    "image": name,
                    "question": question.question,
                    "answer": question.answer,
                    "spans": [{"start": question.start, "end": question.end, "segmentation": mask}],
                }
            )
        return name

    def marked_instances(self) -> dict[str, Any]:
        """COCO instances whose categories are :data:`MARKED_NAMES`."""
        return shape_instances(self.records) | {
            "annotations": [
                instance | {"category_id": MARKED_NAMES.index(name) + 1}
                for instance, name in zip(self.records.instances, self.names, strict=True)
            ],
            "categories": [
                {"id": index, "name": name, "supercategory": name.split()[1]}
                for index, name in enumerate(MARKED_NAMES, start=1)
            ],
        }


def write_detail_scenes(
    root: str | os.PathLike,
    tokenizer: str | os.PathLike,
    num_train: int,
    num_eval: int,
    seed: int = 0,
    size: int = DETAIL_SIZE,
    progress: bool = True,
) -> DetailFiles:
    """Write scenes with fine detail as RefCOCO, GranDf-HA, COCO and LLaVA files, and as lines of grounded answers.

    In the train split a shape mostly has its usual mark, in the val split it has not. Scene i of a split depends on ``seed``,
    the split and i alone. A folder that already holds these very scenes is left as it is; one that an
    interrupted call left behind is written anew.

    Args:
        root: folder to write to; made if missing.
        tokenizer: folder of the tokenizer of plain scenes, to which the mark words are added: a model that has learnt plain
            scenes can then go on.
        num_train, num_eval: scenes of each split, positive.
        seed: seed of all choices.
        size: longer side of the images, see :func:`~lira_plugin.scenes.scene_marks.make_marked_scene`.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: there is no tokenizer.
        ValueError: the folder holds something else, or an argument is out of range.
    """
    if min(num_train, num_eval) < 1:
        raise ValueError(f"num_train and num_eval must be positive, got {num_train} and {num_eval}")
    if not Path(tokenizer, "tokenizer.json").is_file():
        raise FileNotFoundError(
            f"there is no tokenizer.json in {str(tokenizer)!r}; write plain scenes first: python tools/make_scenes.py FOLDER"
        )
    files = DetailFiles(Path(root))
    settings = {"num_train": num_train, "num_eval": num_eval, "seed": seed, "size": size, "version": DETAIL_VERSION}
    splits = {split: _Split(SceneRecords(split)) for split in DETAIL_HABITS}
    jobs = [(split, index) for split in splits for index in range(num_train if split == "train" else num_eval)]
    if files.folder.holds(settings, lambda: _is_whole(files, jobs)):
        return files

    make_marked_scene(np.random.default_rng(seed), "even", size)  # refuses bad settings before anything is written
    files.images.mkdir(parents=True, exist_ok=True)
    files.folder.begin(settings)
    for split, index in tqdm(jobs, desc="scenes with detail", unit="scene", disable=not progress):
        rng = np.random.default_rng((seed, len(DETAIL_HABITS), list(splits).index(split), index))
        marked = make_marked_scene(rng, DETAIL_HABITS[split], size)
        name = splits[split].add(marked, index, rng)
        if not cv2.imwrite(str(files.images / name), marked.scene.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise OSError(f"OpenCV could not write {files.images / name}")
    _write_annotations(files, splits)
    _write_tokenizer(files, Path(tokenizer))
    files.folder.finish()
    return files


def _is_whole(files: DetailFiles, jobs: list[tuple[str, int]]) -> bool:
    """Whether all files are there."""
    texts = [
        files.root / folder / name for folder in ("refcoco", "marks") for name in ("instances.json", "refs(unc).json")
    ]
    for split in DETAIL_HABITS:
        texts += [files.captions(split), files.instances(split), files.questions(split), files.llava(split)]
    texts += [files.tokenizer / name for name in ("tokenizer.json", "tokenizer_config.json")]
    images = [files.images / file_name_of(image_id_of(*job)) for job in jobs]
    return all(path.is_file() for path in (*texts, *images))


def _write_annotations(files: DetailFiles, splits: dict[str, _Split]) -> None:
    shapes = shape_instances(*(split.records for split in splits.values()))
    plain = number_refs([ref for split in splits.values() for ref in split.records.refs])
    marked = number_refs([ref for split in splits.values() for ref in split.refs])
    for folder, refs in (("refcoco", plain), ("marks", marked)):
        write_json(files.root / folder / "instances.json", shapes)
        write_json_list(files.root / folder / "refs(unc).json", refs)
    for name, split in splits.items():
        write_json_list(files.captions(name), split.records.grandf)
        write_json(files.instances(name), split.marked_instances())
        write_json_list(files.llava(name), split.records.llava)
        write_text(files.questions(name), "".join(json.dumps(line) + "\n" for line in split.questions))


def _write_tokenizer(files: DetailFiles, base: Path) -> None:
    """The tokenizer of plain scenes, in which each mark word is one token more; all others keep their ids."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.add_tokens([f" {word}" for word in (*MARKS, PLAIN)] + [PLAIN])
    files.tokenizer.mkdir(parents=True, exist_ok=True)
    with written_aside(files.tokenizer / "tokenizer.json") as unfinished:
        tokenizer.save(str(unfinished))
    write_text(files.tokenizer / "tokenizer_config.json", (base / "tokenizer_config.json").read_text())
