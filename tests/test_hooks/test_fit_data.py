"""Runners whose data take from the model what both have to agree on."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import Compose, DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import TestLoop as EvaluationLoop
from torch import nn
from torch.utils.data import Dataset

from lira_plugin.datasets import ResumableSampler
from lira_plugin.datasets.agreed import agreed, needed
from lira_plugin.hooks import FitDataHook, ResumableTrainLoop
from lira_plugin.hooks.fit_data import spec_of_runner
from lira_plugin.structures import InputSpec

pytestmark = pytest.mark.slow


class Model(BaseModel):
    """Says that tiles have 32 pixels, and keeps the sizes that it is given."""

    input_spec = InputSpec(tile_size=32)

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(1)), []

    def forward(self, size, mode="tensor"):
        self.seen += size.tolist()
        return {"loss": self.weight.sum()} if mode == "loss" else [{}] * len(size)


class Step:
    def __init__(self, size):
        self.size = size

    def fit_to_model(self, spec):
        self.size = agreed("size", self.size, spec, "tile_size")

    def __call__(self, draw):
        return {"size": needed(self.size, self, "size")}


class Data(Dataset):
    def __init__(self, size=None):
        self.pipeline = Compose([Step(size)])

    def __len__(self):
        return 4

    def __getitem__(self, draw):
        return self.pipeline(draw)

    @property
    def modality_length(self):
        return [needed(self.pipeline.transforms[0].size, self, "size")] * len(self)


class Count(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {"count": len(results)}


def runner(work_dir, dataset, loop=ResumableTrainLoop, workers=0, hooks=(FitDataHook,), sampler=None):
    settings = {"num_workers": workers, "collate_fn": {"type": "default_collate"}, "batch_size": 2}
    return Runner(
        model=Model(),
        work_dir=str(work_dir),
        experiment_name=work_dir.name,
        train_dataloader={**settings, "dataset": dataset, "sampler": sampler or {"type": ResumableSampler}},
        train_cfg={"type": loop, "max_iters": 2},
        optim_wrapper={"type": OptimWrapper, "optimizer": {"type": torch.optim.SGD, "lr": 0.1}},
        test_dataloader={**settings, "dataset": dataset, "sampler": {"type": DefaultSampler, "shuffle": False}},
        test_cfg={"type": EvaluationLoop},
        test_evaluator={"type": Count},
        default_hooks={"logger": None, "timer": None, "checkpoint": None},
        custom_hooks=[{"type": hook} for hook in hooks],
        default_scope="lira_plugin",
        log_level="ERROR",
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_training_fits_its_data_before_lengths_are_asked_for_and_workers_read_ahead(tmp_path, workers):
    trained = runner(tmp_path, {"type": Data}, workers=workers, sampler={"type": ResumableSampler, "length_group": 2})
    trained.train()
    assert trained.model.seen == [32] * 4


def test_the_loops_of_mmengine_have_the_hook(tmp_path):
    trained = runner(tmp_path, {"type": Data}, loop=IterBasedTrainLoop)
    trained.train()
    trained.test()
    assert trained.model.seen == [32] * 8
    with pytest.raises(ValueError, match="Step has no size: give one, or .* FitDataHook"):
        runner(tmp_path, {"type": Data}, loop=IterBasedTrainLoop, hooks=()).train()


@pytest.mark.parametrize("loop", [ResumableTrainLoop, IterBasedTrainLoop])
@pytest.mark.parametrize("phase", ["train", "test"])
def test_a_contradiction_ends_the_run_before_the_first_batch(tmp_path, loop, phase):
    wrong = runner(tmp_path, {"type": Data, "size": 16}, loop=loop)
    place = rf"{phase}_dataloader\.dataset\.pipeline\.0\.size=16, but model\.semantic_encoder makes tile_size=32"
    with pytest.raises(ValueError, match=place):
        getattr(wrong, phase)()
    assert not wrong.model.seen


def test_the_model_is_found_inside_of_its_wrappers_and_built_where_it_is_not_yet():
    wrapped = SimpleNamespace(module=SimpleNamespace(module=Model()))
    assert spec_of_runner(SimpleNamespace(model=wrapped)) is Model.input_spec
    assert spec_of_runner(SimpleNamespace(model=nn.Linear(1, 1))) is None
    assert not hasattr(MMDistributedDataParallel, "input_spec")
    built = Model()
    flexible = SimpleNamespace(model={"type": Model}, strategy=SimpleNamespace(build_model=lambda config: built))
    assert spec_of_runner(flexible) is Model.input_spec and flexible.model is built, "not built a second time"
