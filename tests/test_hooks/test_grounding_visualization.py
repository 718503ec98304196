"""Pictures during training: what is logged, and that training takes no notice."""

import json
import random
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.visualization import LocalVisBackend, Visualizer
from support.tiny_model import caption_record, lira_config, make_samples, refer_record, text_record
from torch import nn

from lira_plugin.datasets import grounding_collate
from lira_plugin.hooks import GroundingVisualizationHook, grounding_visualization
from lira_plugin.models import LIRA
from lira_plugin.registry import DATASETS
from lira_plugin.structures import GroundedSpan, GroundedText, decode_union
from lira_plugin.visualization import GroundingVisualizer

pytestmark = pytest.mark.slow


class Restless(LIRA):
    """Draws from every generator when it predicts, and has a part whose mode is not that of the whole."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)

    def predict(self, batch, data_samples):
        random.random(), np.random.rand()
        self.norm(torch.rand(3, 4))
        return super().predict(batch, data_samples)

    def loss(self, batch, data_samples=None):
        self.norm(torch.rand(3, 4))
        return super().loss(batch, data_samples) | {"loss_noise": self.dropout(self.norm.weight).sum()}


class Trace(Hook):
    """Keeps losses, random numbers and modes after every iteration."""

    def __init__(self):
        self.losses, self.drawn, self.modes = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: float(value) for name, value in outputs.items()})
        self.drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.modes.append([module.training for module in runner.model.modules()])


class Once(IterBasedTrainLoop):
    """Switches the model to training at the start only: a hook that changes the mode is not repaired."""

    def run(self):
        self.runner.call_hook("before_train")
        self.runner.model.train()
        while self._iter < self._max_iters:
            self.run_iter(next(self.dataloader_iterator))
        self.runner.call_hook("after_train")


def records(folder):
    return [
        refer_record(folder, "a", ["red ring"]),
        refer_record(folder, "b", ["blue star"], height=64, width=40),
        caption_record(folder, "c", "a cat and a dog", ["a cat", "a dog"]),
    ]


def train(work_dir, model, hooks=(), iters=4, cfg=None, visualizer=GroundingVisualizer):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    trace = Trace()
    (work_dir / "images").mkdir(parents=True)
    runner = Runner(
        model=model,
        experiment_name=str(work_dir),
        work_dir=str(work_dir),
        train_dataloader={
            "dataset": make_samples(records(work_dir / "images")),
            "batch_size": 2,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "collate_fn": {"type": grounding_collate},
        },
        train_cfg={"type": Once, "max_iters": iters},
        optim_wrapper={"type": OptimWrapper, "optimizer": {"type": torch.optim.AdamW, "lr": 1e-3}},
        default_hooks={"logger": None, "timer": None, "checkpoint": None},
        custom_hooks=[*hooks, trace],
        visualizer={"type": visualizer, "vis_backends": [{"type": LocalVisBackend}]},
        default_scope="lira_plugin",
        randomness={"seed": 3},
        log_level="ERROR",
        cfg=cfg,
    )
    runner.train()
    return trace, runner


def pictures(work_dir):
    return {path.stem: cv2.imread(str(path)) for path in Path(work_dir).glob("*/vis_data/vis_image/*.png")}


def scalars(work_dir):
    lines = [line for path in Path(work_dir).glob("*/vis_data/scalars.json") for line in path.read_text().splitlines()]
    return {row.pop("step"): row for row in map(json.loads, lines)}


def restless():
    torch.manual_seed(0)
    return Restless(**lira_config(frozen=["pixel_encoder"], generation={"max_new_tokens": 6}))


def test_training_is_bitwise_the_same_with_and_without(tmp_path, monkeypatch):
    samples = make_samples(records(tmp_path), for_generation=True)

    def run(name, *hooks):
        trace, runner = train(tmp_path / name, restless(), hooks)
        return trace, {key: value.clone() for key, value in runner.model.state_dict().items()}

    plain, weights = run("plain")
    seen, seen_weights = run("seen", GroundingVisualizationHook(samples, interval=1, num_samples=2))
    assert len(plain.losses) == 4
    assert seen.losses == plain.losses and seen.drawn == plain.drawn and seen.modes == plain.modes
    assert any(plain.modes[0]) and not all(plain.modes[0]), "a frozen part is in evaluation mode"
    assert weights.keys() == seen_weights.keys()
    assert all(torch.equal(weights[name], seen_weights[name]) for name in weights)

    monkeypatch.setattr(grounding_visualization, "preserved_random_state", nullcontext)
    disturbed, _ = run("disturbed", GroundingVisualizationHook(samples, interval=1, num_samples=2))
    assert disturbed.drawn != plain.drawn, "otherwise this test would prove nothing"


class Scripted(BaseModel):
    """Answers each sample with its ground truth, moved to the right by a fixed number of pixels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.predictions = 0

    def forward(self, batch, data_samples=None, mode="loss"):
        if mode == "loss":
            return {"loss": self.weight.sum()}
        assert not self.training and not torch.is_grad_enabled()
        self.predictions += 1
        return [self.answer(sample) for sample in data_samples]

    def answer(self, sample):
        text, spans = "", []
        for region in sample.regions:
            mask = decode_union(region.segmentations, *sample.image.shape[:2])
            start, text = len(text), text + region.phrase + " "
            place = start, start + len(region.phrase)
            spans.append(GroundedSpan(*place, region.phrase, np.roll(mask, 2, 1), np.roll(mask, 6, 1)))
        return GroundedText(text, tuple(spans))


def box_iou(width, shift):
    return (width - shift) / (width + shift)


def test_pictures_and_iou_are_logged_every_interval_and_at_the_end(tmp_path):
    samples = make_samples(records(tmp_path), for_generation=True)
    model = Scripted()
    hook = GroundingVisualizationHook(samples, interval=2, indices=[0, 2])
    train(tmp_path / "run", model, [hook], iters=5)
    assert set(pictures(tmp_path / "run")) == {f"vis_{index}_{step}" for index in (0, 2) for step in (2, 4, 5)}
    rows = scalars(tmp_path / "run")
    assert set(rows) == {2, 4, 5} and model.predictions == 3
    for stage, shift in (("refined", 2), ("coarse", 6)):
        # the boxes of tiny.py are 22 columns wide in expressions and 28 in captions
        expected = {0: box_iou(22, shift), 2: box_iou(28, shift)}
        for index, value in expected.items():
            assert rows[4][f"vis/iou/{stage}/{index}"] == pytest.approx(value)
        assert rows[4][f"vis/iou/{stage}"] == pytest.approx(np.mean(list(expected.values())))


def test_the_last_weights_are_not_drawn_twice(tmp_path):
    model = Scripted()
    samples = make_samples(records(tmp_path), for_generation=True)
    train(tmp_path / "run", model, [GroundingVisualizationHook(samples, interval=2)], iters=4)
    assert model.predictions == 2


def test_the_draw_is_fixed_by_its_seed(tmp_path):
    samples = make_samples([refer_record(tmp_path, str(n), ["x"]) for n in range(12)], for_generation=True)

    def drawn(seed, name):
        hook = GroundingVisualizationHook(samples, interval=9, num_samples=3, seed=seed)
        train(tmp_path / name, Scripted(), [hook], iters=1)
        return sorted(pictures(tmp_path / name))

    first = drawn(0, "a")
    assert len(first) == 3
    np.random.seed(77)
    assert drawn(0, "b") == first and drawn(1, "c") != first


def test_a_question_without_ground_truth_has_a_picture_and_no_score(tmp_path):
    sample = make_samples([text_record("v", image_path=records(tmp_path)[0].image_path)], for_generation=True)
    train(tmp_path / "run", Scripted(), [GroundingVisualizationHook(sample, interval=1)], iters=1)
    assert set(pictures(tmp_path / "run")) == {"vis_0_1"} and scalars(tmp_path / "run") == {}


class Samples(list):
    """A data set that a config builds."""

    def __init__(self, folder):
        super().__init__(make_samples(records(Path(folder)), for_generation=True))


def test_the_data_set_is_that_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS._module_dict, "Samples", Samples)
    recipe = Config({"test_dataloader": {"dataset": {"type": "Samples", "folder": str(tmp_path)}}})
    hook = GroundingVisualizationHook(interval=1, num_samples=1)
    train(tmp_path / "run", Scripted(), [hook], iters=1, cfg=recipe)
    assert len(pictures(tmp_path / "run")) == 1
    with pytest.raises(ValueError, match="no val_ or test_dataloader"):
        train(tmp_path / "none", Scripted(), [GroundingVisualizationHook()])


def test_other_processes_neither_load_nor_predict(tmp_path, monkeypatch):
    class Never:
        def __len__(self):
            raise AssertionError("loaded")

    monkeypatch.setattr(grounding_visualization, "is_main_process", lambda: False)
    model = Scripted()
    trace, _ = train(tmp_path / "run", model, [GroundingVisualizationHook(Never(), interval=1)])
    assert len(trace.losses) == 4 and model.predictions == 0 and not pictures(tmp_path / "run")


def test_the_bare_model_predicts_under_a_wrapper(tmp_path):
    """A wrapper's forward would wait for the other processes."""
    from mmengine.model.wrappers import MMDistributedDataParallel

    class Wrapper(MMDistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module

        def forward(self, *args, **kwargs):
            raise AssertionError("collective")

    hook = GroundingVisualizationHook(make_samples(records(tmp_path), for_generation=True), interval=1)
    _, runner = train(tmp_path / "run", Scripted(), [hook], iters=1)
    runner.model = Wrapper(runner.model)
    assert len(hook._predict(runner)) == 3


def test_what_cannot_work_is_refused(tmp_path):
    samples = make_samples(records(tmp_path), for_generation=True)
    with pytest.raises(ValueError, match="positive"):
        GroundingVisualizationHook(samples, interval=0)
    with pytest.raises(TypeError, match="GroundingVisualizer"):
        train(tmp_path / "a", Scripted(), [GroundingVisualizationHook(samples)], visualizer=Visualizer)
    with pytest.raises(ValueError, match="for_generation"):
        hook = GroundingVisualizationHook(make_samples(records(tmp_path)))
        train(tmp_path / "b", Scripted(), [hook])


def test_sharded_weights_are_warned_about_and_trained_without_pictures(tmp_path, monkeypatch):
    """One process alone cannot gather the weights; ``ds_id`` is ZeRO-3's mark on a parameter."""
    warnings = []
    monkeypatch.setattr(grounding_visualization, "print_log", lambda message, **_: warnings.append(message))
    sharded = Scripted()
    sharded.weight.ds_id = 0
    hook = GroundingVisualizationHook(make_samples(records(tmp_path), for_generation=True), interval=1)
    trace, _ = train(tmp_path / "run", sharded, [hook])
    assert len(trace.losses) == 4 and sharded.predictions == 0 and not pictures(tmp_path / "run")
    assert len(warnings) == 1 and "ZeRO-3" in warnings[0]
