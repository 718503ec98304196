"""``xtuner test``'s way through grounded captions: the pool of questions, the scores, and what is written beside them."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from support.paths import config_path
from support.process_state import process_state_restored
from support.processes import on_two_processes
from support.tiny_recipes import write_work_dir

from lira_plugin.command import tools
from lira_plugin.datasets.gcg_images import REFERENCE_ORDER
from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.text_similarity import exact_similarity
from lira_plugin.models import LIRA
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.structures import GCG_QUESTIONS, GroundedSpan, GroundedText, decode_union

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        write_work_dir(root, eval_scenes=3)
        yield root


def evaluate(root: Path, work_dir: Path, **options) -> dict[str, float]:
    config = Config.fromfile(config_path("lira_tiny_gcg"))
    config.model.update(init_from=[], frozen=[])
    config.model.generation.update(max_new_tokens=6)
    config.test_dataloader.update(batch_size=4)
    config.merge_from_dict(options)
    config.work_dir, config.experiment_name = str(work_dir), work_dir.as_posix()
    runner = Runner.from_cfg(config)
    runner.model.load_state_dict(torch.load(root / "lira" / "iter_7.pth")["state_dict"], strict=False)
    return runner.test()


def told(sample) -> GroundedText:
    """What a model might say: nothing to the first questions about some images, and masks that are not quite right."""
    rng = np.random.default_rng(int(sample.record_id[-6:]))
    if GCG_QUESTIONS.index(sample.question) in REFERENCE_ORDER[: rng.integers(0, 3)]:
        return GroundedText("no idea")
    height, width = sample.letterbox.height, sample.letterbox.width
    spans, text = [], ""
    for region in sample.regions:
        mask = decode_union(region.segmentations, height, width)
        mask[: rng.integers(0, height)] = False
        phrase = region.phrase if rng.random() < 0.7 else "a thing"
        spans.append(GroundedSpan(len(text), len(text) + len(phrase), phrase, mask, score=float(rng.random())))
        text += phrase + " "
    return GroundedText(text, tuple(spans))


def evaluate_told(root: Path, work_dir: Path, **options) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LIRA, "predict", lambda self, batch, data_samples: [told(sample) for sample in data_samples])
        return evaluate(root, work_dir, **options)


def evaluate_on_rank(rank: int, *arguments) -> dict[str, float]:
    os.environ["LOCAL_RANK"] = str(rank)  # of this forked process alone
    return evaluate_told(*arguments)


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    """Scores, lines of the answers and the file of the scores, of one process."""
    scores = evaluate_told(root, tmp_path_factory.mktemp("alone"))
    return scores, read_lines(root), json.loads((root / "lira_gcg" / "gcg.json").read_text())


def read_lines(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "lira_gcg" / "answers.jsonl").read_text().splitlines()]


def test_the_first_answer_with_a_mask_wins(root, alone):
    _, lines, _ = alone
    scenes = SceneFiles(root / "data")
    truth = [json.loads((scenes.gcg / f"{split}_gcg_coco_caption_gt.json").read_text()) for split in ("val", "test")]
    assert [line["record_id"] for line in lines] == [image["id"] for part in truth for image in part["images"]]
    assert [line["source"] for line in lines] == ["gcg/val"] * 3 + ["gcg/test"] * 6
    asked = [REFERENCE_ORDER.index(GCG_QUESTIONS.index(line["question"])) for line in lines]
    assert asked == [np.random.default_rng(int(line["record_id"][-6:])).integers(0, 3) for line in lines]
    assert len(set(asked)) > 1 and all(line["spans"] for line in lines)


def test_the_scores_are_those_of_the_written_answers(root, alone):
    scores, _, written = alone
    for split in ("val", "test"):
        own = {name.split("/")[2]: value for name, value in scores.items() if name.startswith(f"gcg/{split}/")}
        files = score_gcg_files(root / "lira_gcg" / "answers.jsonl", root / "data" / "gcg", split, exact_similarity)
        assert own == files.scores and files.unknown == {"val": 6, "test": 3}[split]
        assert 0 < own["Recall"] <= own["Recall_fixed"] < 1 and 0 < own["AP50"] < 1 and 0 < own["mIoU"] < 1
    written = dict(written)
    settings = written.pop("settings")
    assert written == {name: value for name, value in scores.items() if not name.startswith("answers/")}
    assert settings["generation"]["max_new_tokens"] == 6 and settings["pipeline"]["tile"]["max_tiles"] == 4
    assert settings["datasets"][0]["split"] == "val" and settings["similarity"] == "exact"
    assert settings["questions"] == {"gcg/val": list(REFERENCE_ORDER), "gcg/test": list(REFERENCE_ORDER)}
    assert set(settings["ground_truth"]) == {
        f"{split}_gcg_coco_{kind}_gt.json" for split in ("val", "test") for kind in ("mask", "caption")
    }


def test_two_processes_score_as_one(root, alone, tmp_path):
    scores, lines, written = alone
    assert on_two_processes(evaluate_on_rank, root, tmp_path) == [scores, scores]
    assert read_lines(root) == lines and json.loads((root / "lira_gcg" / "gcg.json").read_text()) == written


def test_the_guides_options(root, alone, tmp_path):
    """Asked only once, some images have no mask."""
    scores = evaluate_told(root, tmp_path, **{"test_cfg.retries": 0, "test_evaluator.0.mask_stage": "coarse"})
    questions = [line["question"] for line in read_lines(root)]
    assert set(questions) == {GCG_QUESTIONS[REFERENCE_ORDER[0]]}
    without = sum(not line["spans"] for line in read_lines(root))
    assert scores["gcg/val/without_mask"] + scores["gcg/test/without_mask"] == without > 0
    settings = json.loads((root / "lira_gcg" / "gcg.json").read_text())["settings"]
    assert settings["loop"]["retries"] == 0 and settings["mask_stage"] == "coarse"


def test_a_model_that_has_learnt_nothing(root, alone, tmp_path):
    scores = evaluate(root, tmp_path)
    assert scores["gcg/test/images"] == 6 and scores["gcg/val/missing"] == 0
    assert all(np.isfinite(value) for value in scores.values())


def test_the_tool_scores_answers_of_any_model(root, alone, tmp_path, monkeypatch, capsys):
    scores, _, _ = alone
    from runpy import run_path

    out, records = tmp_path / "scores.json", tmp_path / "records.jsonl"
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in alone[1]))
    arguments = ["gcg", str(tmp_path / "answers.jsonl"), str(root / "data" / "gcg"), "--split", "test", "--no-captions"]
    monkeypatch.setattr(sys, "argv", ["score.py", *arguments, "--json", str(out), "--per-record", str(records)])
    run_path(str(tools()["score"]), run_name="__main__")
    written = json.loads(out.read_text())
    assert written.pop("settings")["similarity"] == "exact"
    assert {f"gcg/test/{name}": value for name, value in written.items()}.items() <= scores.items() and len(
        written
    ) == 8
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert np.mean([line["mIoU"] for line in lines]) == pytest.approx(written["mIoU"]) and len(lines) == 6
    said = capsys.readouterr().out
    assert "left out, as --no-captions says" in said and "3 predictions are of images that the ground truth" in said
