"""A small MMEngine training, for tests of hooks and the training loop."""

from functools import partial
from pathlib import Path

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner, Runner
from torch import nn
from torch.utils.data import Dataset

import lira_plugin.compat.plain_checkpoints  # noqa: F401  as the recipes do
from lira_plugin.datasets import Draw, ResumableSampler
from lira_plugin.hooks import ResumableTrainLoop, SeedEachIterHook

RECORDS, BATCH = 7, 3


class Numbers(Dataset):
    """Keeps what is asked of it; what a draw holds depends on its number too, as with our data sets."""

    def __init__(self, draws):
        self.draws = draws

    def __deepcopy__(self, memo):
        return self  # the runner copies its configs, and what is in them

    def __len__(self):
        return RECORDS

    def __getitem__(self, draw):
        self.draws.append(draw)
        assert isinstance(draw, Draw)
        return {"value": torch.tensor([float(draw.index), float(draw.draw_index % 5)])}


class Model(BaseModel):
    """Its loss depends on the data, the weights, and on what dropout and noise draw."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))

    def forward(self, value, mode="tensor"):
        noise = torch.rand_like(value)
        return {"loss": (self.layers(value + noise) ** 2).mean()}


class Losses(Hook):
    """Keep the loss of every iteration."""

    def __init__(self):
        self.values = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.values[runner.iter] = float(outputs["loss"])


def train(
    work_dir,
    max_iters,
    resume_from=None,
    seed=3,
    hooks=(SeedEachIterHook,),
    max_epochs=None,
    launcher="none",
    param_scheduler=None,
    checkpoint=None,
    resume=False,
    model=None,
    optim_wrapper=None,
    strategy=None,
    **settings,
):
    """Train; return the losses by iteration and the draws that were loaded."""
    torch.manual_seed(99 if resume_from is None else 11)  # no help from the state that a process happens to be in
    draws, losses = [], Losses()
    kind = Runner if strategy is None else partial(FlexibleRunner, strategy=strategy)
    runner = kind(
        model=model or Model(),
        experiment_name=Path(work_dir).as_posix() + str(resume_from),
        work_dir=str(work_dir),
        train_dataloader={
            "num_workers": 0,
            "batch_size": BATCH,
            "sampler": {"type": ResumableSampler},
            "collate_fn": {"type": "default_collate"},
            "dataset": Numbers(draws),
            **settings,
        },
        train_cfg={"type": ResumableTrainLoop, "max_iters": max_iters, "max_epochs": max_epochs},
        param_scheduler=param_scheduler,
        optim_wrapper={"type": OptimWrapper, "optimizer": {"type": torch.optim.AdamW, "lr": 0.05}}
        | (optim_wrapper or {}),
        default_hooks={
            "logger": None,
            "timer": None,
            "checkpoint": {
                "type": CheckpointHook,
                "by_epoch": False,
                "interval": 5,
                "save_last": False,
                **(checkpoint or {}),
            },
        },
        custom_hooks=[losses, *[{"type": hook} if isinstance(hook, type) else hook for hook in hooks]],
        load_from=None if resume_from is None else str(resume_from),
        resume=resume or resume_from is not None,
        randomness={"seed": seed},
        launcher=launcher,
        cfg={"model_wrapper_cfg": {"device_ids": None}},
        default_scope="lira_plugin",
        log_level="ERROR",
    )
    runner.train()
    return losses.values, draws
