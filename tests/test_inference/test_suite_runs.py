"""A checkpoint on several suites, through their recipes: what ``tools/eval_all.py`` does, in this process."""

import json
import sys
from runpy import run_path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from support.paths import CONFIGS, config_path
from support.process_state import process_state_restored
from support.tiny_recipes import unformatted_configs, write_work_dir

from lira_plugin.command import tools
from lira_plugin.inference.suite_runs import find_suites, run_key, run_suites, suite_config
from lira_plugin.models import LIRA
from lira_plugin.structures import GroundedText

RECIPE = config_path("lira_tiny")


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored(), unformatted_configs():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        write_work_dir(root, eval_scenes=3)
        yield root


@pytest.fixture(scope="module")
def model(root):
    config = Config.fromfile(RECIPE)
    config.model.update(init_from=[], frozen=[])
    return config


def told(self, batch, data_samples):
    """Answers that do not depend on the batch: right ones and others."""
    return [GroundedText(sample.truth.label if len(sample.question) % 2 else "no idea") for sample in data_samples]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(model, root, out, names, **options):
    said = []
    suites = find_suites(RECIPE, wanted=names)
    return list(run_suites(model, root / "lira", suites, out, said.append, **options)), said


@pytest.fixture(scope="module")
def whole(model, root, tmp_path_factory):
    """The results of two suites by the model itself, with random weights."""
    out = tmp_path_factory.mktemp("whole")
    return run(model, root, out, ["gqa", "pope"])[0], out


def test_suites_of_a_recipe(root):
    assert [suite.name for suite in find_suites(RECIPE)] == ["gqa", "mmbench", "pope", "scienceqa", "vqav2"]
    work_dir = root / "lira" / "lira_tiny.py"  # a copy of a recipe of this package
    assert [suite.name for suite in find_suites(work_dir, wanted=["pope", "gqa"])] == ["pope", "gqa"]
    papers = {suite.name for suite in find_suites("lira_8b")}
    assert {"vizwiz", "gqa", "vqav2", "okvqa", "scienceqa", "pope", "mmbench_en", "mmbench_cn"} <= papers
    with pytest.raises(ValueError, match="no suite is called 'popes'; those in .* are gqa, mmbench"):
        find_suites(RECIPE, wanted=["popes"])
    with pytest.raises(FileNotFoundError, match="no recipes of suites in"):
        find_suites(RECIPE, CONFIGS / "lira" / "deepspeed")


def test_figures_are_those_of_the_written_answers(whole):
    (gqa, pope), out = whole
    answers = read_lines(out / "gqa" / "answers.jsonl")
    assert gqa.figures["scenes/gqa/questions"] == len(answers) == 6
    assert gqa.score == np.mean([answer["score"] for answer in answers])
    assert (gqa.source, gqa.rule, pope.source) == ("scenes/gqa", "gqa", "scenes/pope")
    assert 0 < gqa.chance < 1 and pope.chance == pytest.approx(2 / 3)
    asked = {answer["category"] for answer in read_lines(out / "pope" / "answers.jsonl")}
    assert asked == {"random", "popular", "adversarial"}
    data = gqa.settings["data"]["scenes/gqa"]
    assert all(len(digest) == 64 for digest in data["files"].values()) and data["tiles"] == [1, 4]
    assert gqa.settings["generation"]["ilvc"] is False and gqa.settings["generation"]["max_new_tokens"] == 10


def test_a_finished_suite_is_not_run_again(model, root, whole, monkeypatch):
    results, out = whole
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "test", lambda self: pytest.fail("it was run again"))
        again, said = run(model, root, out, ["gqa", "pope"])
    assert again == results and said == ["[1/2] gqa: finished before", "[2/2] pope: finished before"]
    monkeypatch.setattr(LIRA, "predict", told)
    anew, said = run(model, root, out, ["gqa"], again=True)
    assert anew[0].figures != results[0].figures and said == ["[1/1] gqa: 6 questions"]


def test_other_settings_and_other_weights_are_run_again(model, root, tmp_path):
    (suite,) = find_suites(RECIPE, wanted=["gqa"])
    checkpoint = tmp_path / "iter_1.pth"
    checkpoint.write_bytes(b"1")
    longer, other = Config(model.to_dict()), find_suites(RECIPE, wanted=["gqa"])[0]
    longer.model.generation.repetition_penalty = 1.5
    other.recipe.model.generation.max_new_tokens = 11
    recipes = [(model, suite), (longer, suite), (model, other)]
    keys = [run_key(suite_config(config, one, tmp_path), checkpoint) for config, one in (*recipes, recipes[0])]
    checkpoint.write_bytes(b"22")
    keys.append(run_key(suite_config(model, suite, tmp_path), checkpoint))
    assert keys[0] == keys[3] and len(set(keys)) == 4


def test_interrupted_and_resumed_gives_the_same_results(model, root, tmp_path, monkeypatch):
    monkeypatch.setattr(LIRA, "predict", told)
    names = ["gqa", "scienceqa"]
    expected, said = run(model, root, tmp_path / "at_once", names)
    assert "min left" in said[1]
    test = Runner.test

    def interrupted(self):
        if self.work_dir.endswith("scienceqa"):
            raise KeyboardInterrupt
        return test(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Runner, "test", interrupted)
        run(model, root, tmp_path / "twice", names)
    results, said = run(model, root, tmp_path / "twice", names)
    assert said[0] == "[1/2] gqa: finished before" and len(said) == 2
    assert [plain(result) for result in results] == [plain(result) for result in expected]


def plain(result):
    """A result without what depends on the clock."""
    return result.suite, {name: value for name, value in result.figures.items() if "time" not in name}, result.settings


def test_a_missing_file_is_an_error_before_the_first_test(model, root, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "test", lambda self: pytest.fail("a suite was run"))
    suites = find_suites(RECIPE, wanted=["gqa", "pope", "vqav2"])
    suites[1].recipe.test_dataloader.dataset.datasets[0].ann_files.random = str(tmp_path / "random.json")
    suites[2].recipe.test_dataloader.dataset.datasets[0].questions = str(tmp_path / "questions.json")
    with pytest.raises(FileNotFoundError, match="(?s)pope: .*random.json.*vqav2: .*questions.json"):
        list(run_suites(model, root / "lira", suites, tmp_path, print))


def test_the_tool(root, whole, tmp_path, monkeypatch, capsys):
    results, out = whole
    arguments = ["lira_tiny", str(root / "lira"), "--suites", "gqa", "--out", str(tmp_path)]
    options = ["--cfg-options", "model.init_from=[]", "model.frozen=[]"]
    monkeypatch.setattr(sys, "argv", ["eval_all.py", *arguments, *options])
    monkeypatch.setattr(LIRA, "predict", told)
    run_path(str(tools()["eval-all"]), run_name="__main__")
    said = capsys.readouterr().out
    written = json.loads((tmp_path / "suites.json").read_text())
    (suite,) = written["suites"]
    assert {"lira_plugin", "torch", "transformers", "mmengine"} == set(written["versions"])
    line = (tmp_path / "suites.md").read_text().splitlines()[2]
    assert line.startswith(f"| scenes/gqa | accuracy | {100 * suite['figures']['scenes/gqa/accuracy']:.1f} |")
    assert "scenes/gqa" in said and "wrote" in said
