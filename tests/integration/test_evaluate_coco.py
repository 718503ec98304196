"""``xtuner test``'s way through instances of COCO: both prompts in one run, the scores, and what is written beside them."""

import json
import os
import sys
from pathlib import Path
from runpy import run_path

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
from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.models import LIRA
from lira_plugin.structures import GroundedSpan, GroundedText, decode_union

pytestmark = pytest.mark.slow
COUNTS = ("missing", "empty_right", "without_category")
"""What COCO's results do not tell: an image in which nothing was found, and phrases that are no category."""


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        write_work_dir(root, eval_scenes=5)
        yield root


def evaluate(root: Path, work_dir: Path, recipe: str = "lira_tiny_coco_instance", **options) -> dict[str, float]:
    config = Config.fromfile(config_path(recipe))
    config.model.update(init_from=[], frozen=[])
    config.model.generation.update(max_new_tokens=6)
    config.test_dataloader.update(batch_size=4)
    config.merge_from_dict(options)
    config.work_dir, config.experiment_name = str(work_dir), work_dir.as_posix()
    runner = Runner.from_cfg(config)
    runner.model.load_state_dict(torch.load(root / "lira" / "iter_7.pth")["state_dict"], strict=False)
    return runner.test()


def told(sample) -> GroundedText:
    """What a model might say: masks that are not quite right, wrong names, and nothing about the first image."""
    looks = sample.question.endswith("Look at each region before you describe it.")
    assert looks != sample.question.endswith("Describe each region without looking at it again.")
    rng = np.random.default_rng(int(sample.record_id[-6:]) + looks)
    if sample.index == 0:
        return GroundedText("There is no object of these categories.")
    height, width = sample.letterbox.height, sample.letterbox.width
    spans = []
    for region in sample.regions:
        mask = decode_union(region.segmentations, height, width)
        mask[: rng.integers(0, height)] = False
        phrase = region.phrase if rng.random() < 0.8 else "a thing"
        spans.append(GroundedSpan(0, 0, phrase, mask, score=float(rng.random()), phrase_prob=float(rng.random())))
    return GroundedText("", tuple(spans))


def evaluate_told(root: Path, work_dir: Path, **options) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LIRA, "predict", lambda self, batch, data_samples: [told(sample) for sample in data_samples])
        return evaluate(root, work_dir, **options)


def evaluate_on_rank(rank: int, *arguments) -> dict[str, float]:
    os.environ["LOCAL_RANK"] = str(rank)  # of this forked process alone
    return evaluate_told(*arguments)


def read_files(root: Path) -> dict[str, object]:
    folder = root / "lira_coco_instance"
    return {path.name: json.loads(path.read_text()) for path in [folder / "coco.json", *(folder / "results").iterdir()]}


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    """Scores and the files of one process."""
    return evaluate_told(root, tmp_path_factory.mktemp("alone")), read_files(root)


def test_one_run_asks_both_ways_and_its_scores_are_those_of_its_results(root, alone):
    scores, files = alone
    truth = root / "data" / "coco" / "instances_val.json"
    for name in ("with_ilvc", "without_ilvc"):
        own = {
            key.split("/")[3]: value for key, value in scores.items() if key.startswith(f"coco_instance/val/{name}/")
        }
        results = root / "lira_coco_instance" / "results" / f"coco_instance_val_{name}.json"
        written = score_coco_files(results, truth).scores
        assert {key: own[key] for key in own if key not in COUNTS} == {
            key: written[key] for key in written if key not in COUNTS
        }
        assert own["images"] == 5 and own["missing"] == 0 and own["without_category"] > 0
        assert 0 < own["AP"] < own["AP50"] < 1 and 0 < own["mIoU"] < 1
    assert scores["coco_instance/val/with_ilvc/AP"] != scores["coco_instance/val/without_ilvc/AP"]
    written = dict(files["coco.json"])
    settings = written.pop("settings")
    assert written == scores
    assert settings["generation"]["max_new_tokens"] == 6 and settings["ground_truth"]["path"] == str(truth)
    assert len({data["suffix"] for data in settings["datasets"]}) == 2


def test_two_processes_score_as_one(root, alone, tmp_path):
    scores, files = alone
    assert on_two_processes(evaluate_on_rank, root, tmp_path) == [scores, scores]
    assert read_files(root) == files


def test_a_model_that_has_learnt_nothing(root, alone, tmp_path):
    """It is asked without ILVC alone where it was trained so."""
    scores = evaluate(root, tmp_path, "lira_tiny_coco_instance_no_ilvc")
    assert {name.rpartition("/")[0] for name in scores} == {"coco_instance/val/without_ilvc"}
    assert scores["coco_instance/val/without_ilvc/images"] == 5 and all(np.isfinite(value) for value in scores.values())


def test_the_tool_scores_results_of_any_model(root, alone, tmp_path, monkeypatch, capsys):
    scores, files = alone
    results = tmp_path / "results.json"
    results.write_text(json.dumps(files["coco_instance_val_with_ilvc.json"]))
    out, records = tmp_path / "scores.json", tmp_path / "records.jsonl"
    truth = str(root / "data" / "coco" / "instances_val.json")
    arguments = ["coco", str(results), truth, "--json", str(out), "--per-record", str(records)]
    monkeypatch.setattr(sys, "argv", ["score.py", *arguments])
    run_path(str(tools()["score"]), run_name="__main__")
    written = json.loads(out.read_text())
    settings = written.pop("settings")
    assert settings["kind"] == "coco" and set(settings["data"]) == {"predictions", "ground_truth"}
    kept = {name: value for name, value in written.items() if name not in COUNTS}
    assert {f"coco_instance/val/with_ilvc/{name}": value for name, value in kept.items()}.items() <= scores.items()
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert np.mean([line["mIoU"] for line in lines]) == pytest.approx(written["mIoU"]) and len(lines) == 5
    assert "1 images have no prediction" in capsys.readouterr().out
