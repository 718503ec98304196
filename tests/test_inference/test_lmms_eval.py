"""The model ``lira`` of lmms-eval: its handling of requests with a stand-in of their interface, and their registry itself."""

import importlib
import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from setuptools.config.pyprojecttoml import load_file
from support.lmms_eval_task import write_task
from support.paths import ROOT
from support.tiny_recipes import write_work_dir

from lira_plugin import lmms_eval_manifest
from lira_plugin.inference import LIRAInferencer
from lira_plugin.settings import WrongSetting

MODULE = "lira_plugin.inference.lmms_eval_model"


class Base:
    """What their guide of models says of ``lmms_eval.api.model.lmms``."""

    is_simple = True

    def __init__(self):
        self.task_dict, self.rank, self.world_size = {}, 0, 1

    def clean(self):
        self.cleaned = True


@dataclass
class Asked:
    """Their ``Instance``, as far as a model reads it."""

    args: tuple


@pytest.fixture
def module(monkeypatch):
    """Our module over the stand-in."""
    names = {"lmms_eval": {}, "lmms_eval.api": {}, "lmms_eval.api.instance": {"Instance": Asked}}
    for name, content in (names | {"lmms_eval.api.model": {"lmms": Base}}).items():
        stand_in = types.ModuleType(name)
        vars(stand_in).update(content)
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)


@pytest.fixture
def model(module, lira, monkeypatch):
    monkeypatch.setattr(module, "LIRAInferencer", lambda *args, **options: lira)
    return module.LIRAForLmmsEval("recipe", batch_size="2")


def documents(count):
    pixels = np.random.default_rng(0).integers(0, 255, (count, 30, 40, 3), dtype=np.uint8)
    return [{"image": Image.fromarray(each)} for each in pixels]


def request(text, doc_id, task="words", **settings):
    return Asked((text, {"until": ["\n\n"], **settings}, lambda doc: [doc["image"]], doc_id, task, "test"))


def test_answers_are_in_the_order_of_the_requests_whatever_their_settings(model, lira):
    docs = documents(3)
    model.task_dict.update(words={"test": docs}, more={"test": docs[::-1]})
    lengths = [3, 7, 3, 7, 3, 5]
    tasks = ["words", "more"] * 3
    asked = [
        request(f"Question {index}?", index % 3, task, max_new_tokens=length, temperature=0, num_beams=1)
        for index, (length, task) in enumerate(zip(lengths, tasks))
    ]
    expected = [
        lira(
            model.task_dict[task]["test"][index % 3]["image"], f"Question {index}?", ilvc=False, max_new_tokens=length
        )[0].text
        for index, (length, task) in enumerate(zip(lengths, tasks))
    ]
    assert model.generate_until(asked) == expected and len(set(expected)) > 1
    assert model.generate_until([]) == []


def test_many_requests_are_asked_some_at_a_time(module, model):
    model.task_dict["words"] = {"test": documents(1)}
    loaded, together = [], []

    def asked(lira, questions, **settings):
        together.append(len(questions))
        return [question.name for question in questions]

    requests = [request("What?", 0, max_new_tokens=3) for _ in range(19)]
    for one in requests:
        one.args = (*one.args[:2], lambda doc: loaded.append(sum(together)) or [doc["image"]], *one.args[3:])
    with patch.object(module, "answer_in_words", asked):
        assert model.generate_until(requests) == ["question 0 of words (test)"] * 19
    assert together == [8, 8, 3] and loaded == [0] * 8 + [8] * 8 + [16] * 3  # images are read when it is their turn


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ({}, {}),
        (
            {"max_new_tokens": 16, "temperature": 0.0, "top_p": 1.0, "num_beams": 1, "do_sample": False},
            {"max_new_tokens": 16},
        ),
        ({"until": ["\n\n"], "top_p": None}, {}),
        ({"until": "ASSISTANT:"}, {"stop_strings": ("ASSISTANT:",)}),
        ({"until": ["\n\n", "\n", ""]}, {"stop_strings": ("\n",)}),
        ({"until": None, "do_sample": True}, {}),
        ({"temperature": 0.7, "top_k": 20}, {"do_sample": True, "temperature": 0.7, "top_k": 20}),
        ({"temperature": 0.7, "do_sample": False}, {}),
        ({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
    ],
)
def test_settings_of_a_task(module, asked, settings):
    with patch.object(module, "print_log") as told:
        assert module.generation_settings(asked) == {"do_sample": False, **settings}
    assert not told.called


def test_a_setting_without_effect_is_told_once_for_all_requests(module):
    requests = [request("What?", 0, num_beams=5) for _ in range(4)]
    with patch.object(module, "print_log") as told:
        assert list(module.batches_of_requests(requests, 3)) == [
            ({"do_sample": False}, [0, 1, 2]),
            ({"do_sample": False}, [3]),
        ]
    (call,) = told.call_args_list
    assert "num_beams=5 of a task is not known" in call.args[0]


def test_what_it_cannot_do_says_so(module, model, lira):
    for ask in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError, match="the model 'lira'"):
            ask([])
    model.task_dict["words"] = {"test": [{"image": None}]}
    two = Asked(("Which?", {}, lambda doc: documents(2), 4, "words", "test"))
    model.task_dict["words"]["test"] *= 5
    with pytest.raises(ValueError, match=r"question 4 of words \(test\): it is about 2 images"):
        model.generate_until([two])
    for size in ("auto", 0, "-1", 2.5):
        with pytest.raises(WrongSetting, match=f"batch_size must be a whole number above 0, got {size!r}"):
            module.LIRAForLmmsEval("recipe", batch_size=size)
    with pytest.raises(WrongSetting, match="ilvc must be True or False, got 'yes'"):
        module.LIRAForLmmsEval("recipe", ilvc="yes")
    assert model.device == next(lira.model.parameters()).device
    model.clean()
    assert model.cleaned and not hasattr(model, "lira")


def test_the_entry_point_leads_to_the_model(module):
    declared = load_file(ROOT / "pyproject.toml")["project"]["entry-points"]["lmms_eval.models"]
    point = EntryPoint("lira", declared.pop("lira"), "lmms_eval.models")
    assert point.load() is lmms_eval_manifest.manifest and not declared
    manifests = types.ModuleType("lmms_eval.models.registry_v2")
    manifests.ModelManifest = lambda model_id, simple_class_path: (model_id, simple_class_path)
    with patch.dict(sys.modules, {"lmms_eval.models": types.ModuleType("models"), manifests.__name__: manifests}):
        model_id, path = point.load()()
    assert (model_id, path) == ("lira", f"{MODULE}.{module.LIRAForLmmsEval.__name__}")


@pytest.mark.slow
def test_their_registry_runs_a_checkpoint_over_a_local_task(tmp_path, monkeypatch):
    pytest.importorskip("lmms_eval")
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    work_dir = write_work_dir(tmp_path)
    lira = LIRAInferencer(work_dir, device="cpu", show_progress=False)
    images = sorted((tmp_path / "data" / "images").iterdir())[:3]
    entries = [
        {"image": str(image), "question": question, "answer": "nothing"}
        for question in ("What is the small ring?", "How many circles are there?")
        for image in images
    ]
    alone = [lira(entry["image"], entry["question"], ilvc=False, max_new_tokens=5)[0].text for entry in entries]
    entries[1]["answer"], entries[4]["answer"] = alone[1].strip(), alone[4].strip()
    name = write_task(tmp_path / "task", entries, max_new_tokens=5)
    results = simple_evaluate(
        model="lira",
        model_args=f"config={work_dir},device=cpu",
        tasks=[name],
        batch_size="4",
        task_manager=TaskManager("ERROR", include_path=str(tmp_path / "task"), model_name="lira"),
        bootstrap_iters=0,
    )
    samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == alone
    right = [entry["answer"] == text.strip() for entry, text in zip(entries, alone)]
    assert results["results"][name]["right,none"] == np.mean(right) >= 1 / 3
    assert results["config"]["model_backend"].startswith(f"{MODULE}.LIRAForLmmsEval")
