"""Ask for grounded captions of the val scenes, and say how many of their phrases are true of what their masks cover.

python benchmarks/captions.py work_dirs/tiny/lira
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lira_plugin.inference import LIRAInferencer
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, SIZES, plural
from lira_plugin.structures import GroundedSpan, decode_union
from lira_plugin.structures.prompts import GCG_QUESTIONS

SINGULAR = {form: category for category in CATEGORIES for form in (category, plural(category))}


class Labelled(NamedTuple):
    """An object of a scene: its mask (H, W), and the words that are true of it."""

    mask: np.ndarray
    words: frozenset[str]


@dataclass
class CaptionScores:
    """Counts over all captions.

    Args:
        phrases: phrases with masks.
        refined, coarse: phrases whose every size, colour and shape is true of all that the mask covers.
        repeated: phrases whose coarse mask covers what that of an earlier phrase of the caption does.
        objects: objects of the scenes.
        named: objects that a coarse mask covers.
    """

    phrases: int = 0
    refined: int = 0
    coarse: int = 0
    repeated: int = 0
    objects: int = 0
    named: int = 0

    def add(self, spans: Iterable[GroundedSpan], objects: Sequence[Labelled]) -> None:
        """Count the phrases of one caption."""
        seen: list[tuple[int, ...]] = []
        for span in spans:
            self.phrases += 1
            self.refined += is_true(span.phrase, span.mask, objects)
            self.coarse += is_true(span.phrase, span.mask_of("coarse"), objects)
            hits = covered(span.mask_of("coarse"), objects)
            self.repeated += bool(hits) and hits in seen
            seen.append(hits)
        self.objects += len(objects)
        self.named += len({index for hits in seen for index in hits})

    def shares(self) -> dict[str, float]:
        """Of the phrases, those that are true (of ``refined`` and ``coarse`` masks) and repeated; of the objects, those named."""
        found = {name: getattr(self, name) / max(1, self.phrases) for name in ("refined", "coarse", "repeated")}
        return {name: round(share, 4) for name, share in (found | {"named": self.named / max(1, self.objects)}).items()}


def covered(mask: np.ndarray, objects: Sequence[Labelled]) -> tuple[int, ...]:
    """The objects that have more than half of their area in the mask; none if they are less than half of the mask."""
    inside = [int((item.mask & mask).sum()) for item in objects]
    hits = tuple(i for i, item in enumerate(objects) if inside[i] > item.mask.sum() / 2)
    return hits if sum(inside[i] for i in hits) >= mask.sum() / 2 else ()


def is_true(phrase: str, mask: np.ndarray, objects: Sequence[Labelled]) -> bool:
    """Whether every size, colour and shape of a phrase is true of all objects that the mask covers, of which there is one."""
    said = {SINGULAR.get(word, word) for word in phrase.lower().split()} & {*SIZES, *COLOURS, *CATEGORIES}
    hits = covered(mask, objects)
    return bool(said and hits) and all(said <= objects[index].words for index in hits)


def read_objects(files: SceneFiles) -> dict[str, list[Labelled]]:
    """The objects of the val scenes by the file names of their images."""
    coco = json.loads(files.coco_val.read_text())
    words = {category["id"]: frozenset(category["name"].split()) for category in coco["categories"]}
    images = {image["id"]: image for image in coco["images"]}
    objects: dict[str, list[Labelled]] = {image["file_name"]: [] for image in coco["images"]}
    for instance in coco["annotations"]:
        image = images[instance["image_id"]]
        mask = decode_union([instance["segmentation"]], image["height"], image["width"])
        objects[image["file_name"]].append(Labelled(mask, words[instance["category_id"]]))
    return objects


def judge_captions(lira: LIRAInferencer, files: SceneFiles) -> CaptionScores:
    """Ask for a grounded caption of every val scene and judge it."""
    objects = read_objects(files)
    images = [str(files.images / name) for name in objects]
    scores = CaptionScores()
    for answer, things in zip(lira(images, GCG_QUESTIONS[0]), objects.values(), strict=True):
        scores.add(answer.spans, things)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path, help="of the finetune stage; the scenes are those of its recipe")
    lira = LIRAInferencer(parser.parse_args().work_dir)
    print(judge_captions(lira, SceneFiles(Path(lira.cfg.data_root))).shares())


if __name__ == "__main__":
    main()
