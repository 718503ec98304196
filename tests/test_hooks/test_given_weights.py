"""``xtuner test --checkpoint`` scores the weights that it was given."""

import logging

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from lira_plugin.checkpoint.files import check_before_load
from lira_plugin.hooks import GivenWeightsHook


class Weight(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_load_state_dict_pre_hook(check_before_load)

    def forward(self, data, mode="predict"):
        return [self.weight.item()]


class Value(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {"weight": results[0]}


def runner(folder, hooks=({"type": GivenWeightsHook},), **settings):
    loader = {"dataset": [0], "sampler": {"type": "DefaultSampler"}, "batch_size": 1, "num_workers": 0}
    return Runner(
        model=Weight(),
        work_dir=str(folder),
        experiment_name=f"{folder}{settings}",
        test_dataloader=loader,
        test_cfg={},
        test_evaluator=Value(),
        custom_hooks=list(hooks),
        default_hooks={"logger": None, "checkpoint": None},
        **settings,
    )


@pytest.fixture
def release(tmp_path):
    torch.save({"state_dict": {"weight": torch.ones(1)}}, tmp_path / "release.pth")
    return str(tmp_path / "release.pth")


@pytest.mark.parametrize("resume", [False, True])
def test_what_was_loaded_wins_over_load_from(tmp_path, release, resume, monkeypatch):
    said = []
    monkeypatch.setattr(logging.Logger, "log", lambda logger, level, text: said.append(text))
    run = runner(tmp_path, load_from=release, resume=resume)
    run.model.load_state_dict({"weight": torch.full((1,), 2.0)}, strict=False)  # as xtuner test does
    assert run.test() == {"weight": 2.0}
    assert any("release.pth" in text and "not heeded" in text for text in said)


def test_without_the_hook_another_model_is_scored(tmp_path, release):
    run = runner(tmp_path, hooks=(), load_from=release)
    run.model.load_state_dict({"weight": torch.full((1,), 2.0)}, strict=False)
    assert run.test() == {"weight": 1.0}


def test_load_from_alone_is_heeded_as_mmdet_has_it(tmp_path, release):
    assert runner(tmp_path, load_from=release).test() == {"weight": 1.0}
