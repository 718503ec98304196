"""``xtuner test``'s way through the tiny recipes: each image is encoded once, and no score depends on the batches."""

import json
import os
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from pycocotools import mask as coco_mask
from support.paths import config_path
from support.process_state import process_state_restored
from support.processes import on_two_processes
from support.tiny_recipes import write_work_dir

from lira_plugin.inference import LIRAInferencer
from lira_plugin.models import PixelEncoder


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        write_work_dir(root, eval_scenes=2)
        yield root


def evaluate(root: Path, name: str, work_dir: Path, **dataloader) -> dict[str, float]:
    config = Config.fromfile(config_path(name))
    config.model.update(init_from=[], frozen=[])
    config.model.generation.update(max_new_tokens=12)
    config.test_dataloader.update(dataloader)
    config.test_dataloader.dataset.pipeline.interleave.force_regions = name == "lira_tiny"
    config.work_dir, config.experiment_name = str(work_dir), work_dir.as_posix()
    runner = Runner.from_cfg(config)  # and now as xtuner's command does
    runner.model.load_state_dict(torch.load(root / "lira" / "iter_7.pth")["state_dict"], strict=False)
    return runner.test()


def evaluated_refs(root: Path) -> list[dict]:
    refs = pickle.loads((root / "data" / "refcoco" / "refs(unc).p").read_bytes())
    return [ref for ref in refs if ref["split"] != "train"]


class Evaluation(NamedTuple):
    """Scores, how many images each call of the pixel encoder encoded, and the images opened."""

    scores: dict[str, float]
    encoded: list[int]
    opened: list[str]


def watched(*arguments, **dataloader) -> Evaluation:
    found = Evaluation({}, [], [])
    encode, open_image = PixelEncoder.encode, Image.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PixelEncoder, "encode", lambda self, images: found.encoded.append(len(images)) or encode(self, images)
        )
        patch.setattr(Image, "open", lambda path, *rest: found.opened.append(path) or open_image(path, *rest))
        found.scores.update(evaluate(*arguments, **dataloader))
    return found


@pytest.fixture(scope="module")
def together(root, tmp_path_factory):
    """With the sentences of an image in one batch, as the recipe has them."""
    return watched(root, "lira_tiny", tmp_path_factory.mktemp("together"), batch_size=7)


def test_all_sentences_of_an_image_are_asked_in_one_batch(root, together, tmp_path):
    refs = evaluated_refs(root)
    asked_about = {ref["image_id"] for ref in refs}
    assert sum(together.encoded) == len(together.opened) == len(set(together.opened)) == len(asked_about) > 4
    alone = watched(root, "lira_tiny", tmp_path, batch_size=1, batch_sampler=None)
    sentences = sum(len(ref["sentences"]) for ref in refs)
    assert len(alone.encoded) == sum(alone.encoded) == sentences > len(asked_about)
    assert alone.scores == pytest.approx(together.scores, abs=2e-3) and len(alone.scores) > 40
    assert any(value > 0 for key, value in alone.scores.items() if key.endswith("cIoU"))


def evaluate_on_rank(rank: int, *arguments) -> Evaluation:
    os.environ["LOCAL_RANK"] = str(rank)  # of this forked process alone
    return watched(*arguments)


def test_two_processes_score_as_one(root, together, tmp_path):
    for scores, _, opened in on_two_processes(evaluate_on_rank, root, "lira_tiny", tmp_path):
        assert scores == pytest.approx(together.scores, abs=2e-3) and len(scores) > 40
        assert 0 < len(opened) < len(together.opened)


def test_two_processes_score_reason_seg_as_one(root, tmp_path):
    alone = evaluate(root, "lira_tiny_reason", tmp_path / "alone")
    written = json.loads((root / "lira_reason" / "reason.json").read_text())
    assert {
        f"reasonseg/{split}/{part}/refined/gIoU" for split in ("val", "test") for part in ("short", "long", "all")
    } <= alone.keys()
    for scores, *_ in on_two_processes(evaluate_on_rank, root, "lira_tiny_reason", tmp_path / "together"):
        assert scores == pytest.approx(alone, abs=2e-3)
    again = json.loads((root / "lira_reason" / "reason.json").read_text())
    assert again.keys() == written.keys() and written


@pytest.mark.parametrize(
    ("name", "score"), [("segmenter", "mAP"), ("semantic", "accuracy"), ("pretrain", "refcoco/val/refined/cIoU")]
)
def test_the_earlier_stages_are_tested_too(root, tmp_path, name, score):
    config = Config.fromfile(config_path(f"lira_tiny_{name}"))
    if name == "pretrain":
        config.model.update(init_from=[], frozen=[])
        config.model.generation.update(max_new_tokens=4)
    config.work_dir, config.experiment_name = str(tmp_path), tmp_path.as_posix()
    assert 0 <= Runner.from_cfg(config).test()[score] <= 1


@pytest.fixture(scope="module")
def answered(root, tmp_path_factory):
    """Scores and rows of one process."""
    scores = evaluate(root, "lira_tiny_answers", tmp_path_factory.mktemp("answers"))
    return scores, written_rows(root)


def written_rows(root: Path) -> list[dict]:
    path = root / "lira_answers" / "answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    return rows


def test_two_processes_write_the_answers_of_one(root, answered, tmp_path):
    scores, rows = answered
    on_ranks = on_two_processes(evaluate_on_rank, root, "lira_tiny_answers", tmp_path / "together")
    assert [found.scores for found in on_ranks] == [scores, scores]
    names = ("source", "record_id", "question", "raw_text")
    assert [[row[name] for name in names] for row in written_rows(root)] == [[row[n] for n in names] for row in rows]


def test_answers_of_grounded_captions_and_questions_are_written(root, answered):
    scores, rows = answered
    gcg = json.loads((root / "data" / "grandf" / "scenes_GCG_val.json").read_text())
    vqa = json.loads((root / "data" / "llava" / "scenes_val.json").read_text())
    assert [row["record_id"] for row in rows] == [str(entry["image_id"]) for entry in gcg] + [e["id"] for e in vqa]
    assert scores["gcg/val/answers"] == len(gcg) and scores["vqa/val/answers"] == len(vqa) > 0
    assert all("segmentation masks" in row["question"] for row in rows[: len(gcg)])
    for row in rows:
        with Image.open(row["image"]) as image:
            for span in row["spans"]:
                assert coco_mask.decode(span["segmentation"]).shape == (image.height, image.width)


def test_a_work_dir_alone_is_a_model(root):
    """Its recipe was written out: classes have become dotted paths, and keys are in the order of the alphabet."""
    images = sorted((root / "data" / "images").iterdir())[:3]
    question = "Please segment red circle."
    given = LIRAInferencer(root / "lira", device="cpu")(images, question, force=True)
    config = Config.fromfile(config_path("lira_tiny"))
    config.model.update(init_from=[], frozen=[])
    expected = LIRAInferencer(config, root / "lira" / "iter_7.pth", device="cpu")(images, question, force=True)
    for one, two in zip(given, expected):
        assert one.raw_text == two.raw_text and np.array_equal(one.spans[0].mask, two.spans[0].mask)
    free = LIRAInferencer(weights=root / "lira" / "iter_7.pth", device="cpu")(images, question)
    assert [answer.raw_text for answer in free] != [answer.raw_text for answer in given]
