"""NaN in a training: no step is made of it, it is counted and named, and no checkpoint holds it."""

import os
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from support.processes import PARTED, on_two_processes, without_compiled_gloo
from support.training_runs import BATCH, Model, train
from torch import nn

from lira_plugin.hooks import FiniteStepsHook, SeedEachIterHook

pytestmark = pytest.mark.slow
HOOKS = (SeedEachIterHook, FiniteStepsHook)


class Planted(Model):
    """Its loss is not finite, or its gradients are not, at the batches given by their index; counts what it is asked."""

    def __init__(self, losses=(), gradients=(), weights=(), value=float("nan")):
        torch.manual_seed(5)
        super().__init__()
        self.layers.append(nn.BatchNorm1d(1))
        self.bad = {"losses": set(losses), "gradients": set(gradients), "weights": set(weights)}
        self.value, self.calls, self.history = value, 0, []

    def forward(self, value, data_samples=None, mode="tensor"):
        index, self.calls = self.calls, self.calls + 1
        self.history.append({name: tensor.clone() for name, tensor in self.state_dict().items()})
        if index in self.bad["weights"]:
            with torch.no_grad():
                self.layers[0].weight.fill_(self.value)
        if index in self.bad["losses"]:
            value = value * self.value
        loss = super().forward(value, mode)["loss"]
        if index in self.bad["gradients"]:
            loss = loss + (self.layers[0].weight.sum() * 0).sqrt()  # 0, with a gradient of 0 * inf
        return {"loss": loss}


class Named(SimpleNamespace):
    """A sample whose text would take long, as that of tensors does."""

    def __repr__(self):
        raise AssertionError("a sample that has a name was turned into text")


def named_collate(batch):
    """What our collate gives: tensors, and samples with names."""
    names = [f"refcoco/train record {int(item['value'][0])}" for item in batch]
    values = torch.utils.data.default_collate(batch)
    return values | {"data_samples": [Named(name=name) for name in names]}


def run(work_dir, iters, model, hook=FiniteStepsHook, **settings):
    return train(
        work_dir, iters, model=model, hooks=(SeedEachIterHook, hook), collate_fn={"type": named_collate}, **settings
    )


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def heard(monkeypatch):
    messages = []
    monkeypatch.setattr("lira_plugin.hooks.finite_steps.print_log", lambda text, **kwargs: messages.append(text))
    return messages


@pytest.mark.parametrize("clip", [None, {"max_norm": 1.0}])
@pytest.mark.parametrize("kind", ["losses", "gradients"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_left_out_counted_and_named(tmp_path, heard, kind, value, clip):
    model = Planted(**{kind: [3]}, value=value)
    _, draws = run(tmp_path, 8, model, optim_wrapper={"clip_grad": clip})
    weights = model.history
    assert same(weights[3], weights[4]) or kind == "gradients", "statistics of the batch norm too"
    learnt = [name for name, _ in model.named_parameters()]
    moved = [any(not torch.equal(a[name], b[name]) for name in learnt) for a, b in pairwise(weights)]
    assert moved == [index != 3 for index in range(7)], "and training goes on from the weights before"
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    [message] = heard
    assert message.startswith(f"iteration 4: the {'loss is' if kind == 'losses' else 'gradients are'} not finite")
    records = [draw.index for draw in draws[3 * BATCH : 4 * BATCH]]
    assert all(f"refcoco/train record {index}" in message for index in records) and "(1 left out" in message
    hub = MessageHub.get_current_instance()
    assert hub.get_scalar("train/skipped_steps").current() == 1


def test_sound_batches_are_learnt_as_without_the_hook(tmp_path):
    guarded, plain = Planted(), Planted()
    losses = train(tmp_path / "a", 6, model=guarded, hooks=HOOKS)[0]
    assert losses == train(tmp_path / "b", 6, model=plain)[0]
    assert same(guarded.state_dict(), plain.state_dict())


def test_a_training_after_a_bad_batch_is_one_that_never_took_its_step(tmp_path):
    """Against a plain loop that passes over the batch."""
    model = Planted(losses=[2])
    model.layers[2].p = 0.0
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, draws = run(tmp_path, 5, model, optim_wrapper={"optimizer": {"type": torch.optim.SGD, "lr": 0.1}})
    plain = Planted()
    plain.layers[2].p = 0.0
    plain.load_state_dict(start)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for index in (0, 1, 3, 4):
        torch.manual_seed(3 * 1_000_003 + index)
        batch = draws[index * BATCH : (index + 1) * BATCH]
        value = torch.tensor([[float(draw.index), float(draw.draw_index % 5)] for draw in batch])
        optimizer.zero_grad()
        plain(value, mode="loss")["loss"].backward()
        optimizer.step()
    assert same(model.state_dict(), plain.state_dict())


def test_under_accumulation_a_bad_batch_costs_its_step_alone(tmp_path, heard):
    model = Planted(losses=[4])
    run(tmp_path, 9, model, optim_wrapper={"accumulative_counts": 3})
    learnt = [name for name, _ in model.named_parameters()]
    moved = [
        any(not torch.equal(a[name], b[name]) for name in learnt)
        for a, b in pairwise([*model.history, model.state_dict()])
    ]
    assert moved == [False, False, True, False, False, False, False, False, True]
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert len(heard) == 1 and heard[0].startswith("iteration 6: the loss is not finite")
    assert heard[0].count("record") == BATCH, "those of the bad batch, not of the three"


def test_after_some_in_a_row_the_training_ends_and_names_the_records(tmp_path, heard):
    model = Planted(losses=[1, 3, 4, 5])
    with pytest.raises(FloatingPointError, match=r"iteration 6: .*refcoco/train record \d.*3 steps in a row") as error:
        run(tmp_path, 20, model, {"type": FiniteStepsHook, "max_in_a_row": 3})
    assert "all weights are finite" in str(error.value) and "--resume" in str(error.value)
    assert model.calls == 6 and len(heard) == 3


def test_weights_that_are_not_finite_are_never_written_and_cost_no_earlier_checkpoint(tmp_path):
    """The weights turn NaN after the first checkpoint, of which only one is kept."""
    work_dir = tmp_path / "run"
    settings = {"checkpoint": {"interval": 2, "max_keep_ckpts": 1}}
    with pytest.raises(FloatingPointError, match=r"checkpoint of iteration 4 .*layers\.0\.weight.*earlier ones"):
        run(work_dir, 20, Planted(weights=[2]), **settings)
    assert [path.name for path in work_dir.glob("*.pth")] == ["iter_2.pth"]
    assert (work_dir / "last_checkpoint").read_text() == str(work_dir / "iter_2.pth")


def test_a_training_goes_on_from_the_last_good_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError):
        run(tmp_path / "bad", 20, Planted(losses=range(4, 30)), checkpoint={"interval": 2})
    sound, _ = run(tmp_path / "sound", 8, first := Planted())
    again, _ = run(tmp_path / "again", 8, second := Planted(), resume_from=tmp_path / "bad" / "iter_4.pth")
    assert again == {index: sound[index] for index in range(4, 8)}
    assert same(first.state_dict(), second.state_dict())


def test_a_training_that_starts_with_bad_weights_or_a_bad_optimizer_is_refused(tmp_path, uninterrupted):
    folder, *_ = uninterrupted
    for name, spoil in (
        ("layers.0.weight", lambda state: state["state_dict"]["layers.0.weight"].fill_(float("nan"))),
        ("exp_avg", lambda state: state["optimizer"]["state"][0]["exp_avg"].fill_(float("inf"))),
    ):
        state = torch.load(folder / "iter_5.pth", weights_only=False)
        spoil(state)
        torch.save(state, tmp_path / "bad.pth")
        with pytest.raises(FloatingPointError, match=f"starts with at iteration 5 .*{name}.*earlier checkpoint"):
            train(tmp_path / name, 12, tmp_path / "bad.pth", hooks=HOOKS)


def test_buffers_that_are_infinite_on_purpose_are_no_fault(tmp_path):
    model = Model()
    model.register_buffer("mask", torch.tensor([0.0, -np.inf]))
    train(tmp_path, 5, model=model, hooks=HOOKS)
    assert (tmp_path / "iter_5.pth").exists()


class Scaled(AmpOptimWrapper):
    """MMEngine's wrapper with a scaler of the CPU; its own wants a GPU."""

    def __init__(self, scale, **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param, self.cast_dtype = None, torch.bfloat16
        self.loss_scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)


def test_a_step_that_the_loss_scale_leaves_out_is_no_fault(tmp_path, heard):
    model = Planted(gradients=[2])
    wrapper = {"type": Scaled, "scale": 2.0**10, "clip_grad": {"max_norm": 1.0}}
    run(tmp_path, 5, model, {"type": FiniteStepsHook, "max_in_a_row": 1}, optim_wrapper=wrapper)
    assert not heard and all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize(("kind", "scale"), [("losses", 2.0**10), ("gradients", 4.0)])
def test_with_a_loss_scale_bad_batches_end_the_training_too(tmp_path, heard, kind, scale):
    """Gradients that stay bad at the lowest scale are a fault: 4, 2 and then 1."""
    model = Planted(**{kind: range(2, 30)})
    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        hook = {"type": FiniteStepsHook, "max_in_a_row": 2}
        run(tmp_path, 20, model, hook, optim_wrapper={"type": Scaled, "scale": scale})
    assert model.calls == (4 if kind == "losses" else 6)
    assert all(tensor.isfinite().all() for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "10"])
def test_the_limit_is_a_positive_whole_number(given):
    with pytest.raises(ValueError, match=rf"max_in_a_row .*must be (positive|a whole number), got {given!r}"):
        FiniteStepsHook(given)


def train_on_rank(rank, work_dir, bad, stage=None, hook=FiniteStepsHook, iters=5, **settings):
    """Only the second process has bad batches. What was heard, whether weights moved at each batch, and the last weights."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    heard = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lira_plugin.hooks.finite_steps.print_log", lambda text, **kwargs: heard.append(text))
        model = Planted(**(bad if rank else {}))
        if stage is not None:
            without_compiled_gloo()
            zero = {"stage": stage} | (PARTED if stage == 3 else {})
            config = {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
            settings["strategy"] = {"type": "DeepSpeedStrategy", "config": config, "zero_optimization": zero}
            settings["optim_wrapper"] = {"type": "DeepSpeedOptimWrapper"}
        try:
            run(work_dir, iters, model, hook, launcher="pytorch", **settings)
            error = None
        except FloatingPointError as raised:
            error = str(raised)
    name = "layers.3.bias"
    moved = [not torch.equal(a[name], b[name]) for a, b in pairwise(model.history)]
    return heard, moved, error, {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(("stage", "kind"), [(None, "losses"), (2, "gradients"), (3, "losses")])
def test_all_processes_leave_a_step_out_that_is_bad_on_one(tmp_path, kind, stage):
    one, two = on_two_processes(train_on_rank, tmp_path, {kind: [2]}, stage)
    for heard, moved, error, weights in (one, two):
        assert error is None and len(heard) == 1 and heard[0].startswith("iteration 3: "), heard
        assert stage == 3 or moved == [index != 2 for index in range(4)]
        assert np.isfinite([value for tensor in weights.values() for value in np.ravel(tensor)]).all()
    assert one[0] == two[0] and heard[0].count("refcoco/train record") >= BATCH


def test_all_processes_end_together(tmp_path):
    hook = {"type": FiniteStepsHook, "max_in_a_row": 2}
    answers = on_two_processes(train_on_rank, tmp_path, {"weights": [2]}, 2, hook, 20)
    for _, _, error, _ in answers:
        assert "2 steps in a row" in error and "not finite in layers.0.weight" in error
    assert not list(tmp_path.glob("*.pth"))
