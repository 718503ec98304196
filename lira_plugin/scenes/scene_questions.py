"""Questions about scenes that a model has not seen, of every task that the tiny recipe trains."""

import json

import numpy as np

from lira_plugin.datasets.gcg import GCGDataset
from lira_plugin.datasets.question_files import ImageQuestion, question_of
from lira_plugin.datasets.refer import ReferSegDataset
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.scenes.scene_records import CAPTION_REQUEST


def scene_questions(
    files: SceneFiles, num_vqa: int = 2, num_captions: int = 2, num_refer: int = 4, num_gcg: int = 2, seed: int = 0
) -> list[ImageQuestion]:
    """Draw questions about val scenes: VQA, caption, RefSeg and GCG, the last two with ground truth.

    Args:
        files: the scenes.
        num_vqa, num_captions, num_refer, num_gcg: questions of each task, at most one an image and task.
        seed: of the choice.

    Raises:
        FileNotFoundError: the scenes are not there.
    """
    if not files.llava_val.is_file():
        raise FileNotFoundError(
            f"no scenes in {files.root}; write them with:\n    python tools/make_scenes.py {files.root}"
        )
    rng = np.random.default_rng(seed)
    questions = _draw(_vqa(files), num_vqa, rng)
    refer = ReferSegDataset(str(files.root), "refcoco", "val", str(files.images))
    gcg = GCGDataset(str(files.grandf_val), str(files.images), "grandf", question_index=0)
    scenes = {record.image_path: record for record in (gcg.get_record(index, rng) for index in range(len(gcg)))}
    questions += [ImageQuestion(image, CAPTION_REQUEST, "Caption") for image in _draw(list(scenes), num_captions, rng)]
    expressions = {
        record.image_path: record for record in (refer.get_record(index, rng) for index in range(len(refer)))
    }
    for task, records, count in (("RefSeg", expressions, num_refer), ("GCG", scenes, num_gcg)):
        questions += [question_of(record, task) for record in _draw(list(records.values()), count, rng)]
    return questions


def _draw(options: list, count: int, rng: np.random.Generator) -> list:
    drawn = rng.permutation(len(options))[:count]
    return [options[index] for index in drawn]


def _vqa(files: SceneFiles) -> list[ImageQuestion]:
    """The first question about each val image that does not ask for a caption."""
    questions = []
    for record in json.loads(files.llava_val.read_text()):
        asked = [turn["value"].removeprefix("<image>\n") for turn in record["conversations"] if turn["from"] == "human"]
        first = next(question for question in asked if question != CAPTION_REQUEST)
        questions.append(ImageQuestion(str(files.images / record["image"]), first, "VQA"))
    return questions
