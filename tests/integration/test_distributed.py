"""Two gloo processes train as one does with both their batches, whatever the batches hold."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from support.process_state import process_state_restored
from support.processes import deepspeed_engine, on_two_processes
from support.tiny_model import (
    caption_record,
    make_samples,
    mask_decoder_config,
    refer_record,
    text_record,
    tiny_lira,
)
from support.training_runs import BATCH, train

from lira_plugin.datasets import grounding_collate
from lira_plugin.models import MaskDecoder, QueryLoss, point_losses
from lira_plugin.models.from_scratch import query_loss

FROZEN = ("pixel_encoder", "semantic_encoder.vit")
STEPS = 20
STEPS_UNDER_ZERO = 10
"""Half of them from a checkpoint once more. Under ZeRO a step takes several times as long."""


def grid_points(logits, labels, number, *settings):
    """Compare masks at the same points in every process, which otherwise draw their own."""
    grid = torch.rand(number, 2, generator=torch.Generator().manual_seed(0))
    return grid.repeat(len(logits), 1, 1)


def known_queries(object_masks, masks, state_image):
    """Queries of random weights segment no object: give each a query that depends on the object alone, and some none."""
    first_pixel = masks.flatten(1).float().argmax(1)
    return query_loss.BestQueries(first_pixel % object_masks.shape[1], (first_pixel % 3 > 0).float())


@contextmanager
def without_draws():
    """Of points and queries; each process enters this by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_losses, "get_uncertain_point_coords_with_randomness", grid_points)
        patch.setattr(query_loss, "best_queries", known_queries)
        yield


@pytest.fixture(autouse=True)
def _without_draws():
    with without_draws():
        yield


def on_two(function, *arguments):
    return on_two_processes(call_without_draws, function, arguments)


def call_without_draws(rank, function, arguments):
    with without_draws():
        return function(rank, *arguments)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Samples with none, one and several masks and texts of all lengths."""
    tmp_path = tmp_path_factory.mktemp("images")
    records = [
        refer_record(tmp_path, "a", ["red cup", "dog"]),
        text_record("b"),
        caption_record(tmp_path, "c", "A man with his hat.", ["man", "hat"], 30, 40),
        refer_record(tmp_path, "d", ["kite"], 64, 40),
        text_record("e", "What is it?", "a very long answer to a short question"),
        text_record("f", "Is it blue?", "no", caption_record(tmp_path, "f", "A hat.", ["hat"]).image_path),
    ]
    return make_samples(records)


def build(decoder="shared"):
    return tiny_lira(
        frozen=FROZEN,
        loss_weights={"projection": 10.0},
        extra_losses=[{"type": QueryLoss, "weight": 5.0}],
        mask_decoder=mask_decoder_config(decoder=decoder),
    ).train()


def learn(batches, parallel, decoder="shared"):
    """Train on the batches; return the logs of every step and the weights."""
    model = build(decoder)
    model = MMDistributedDataParallel(model) if parallel else model
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), clip_grad={"max_norm": 5.0})
    logs = [model.train_step(grounding_collate(batch), wrapper) for batch in batches]
    weights = (model.module if parallel else model).state_dict()
    numbers = [{name: float(value) for name, value in log.items()} for log in logs]
    return numbers, {name: value.numpy() for name, value in weights.items()}


def rotated(samples, step):
    return [samples[(step + place) % len(samples)] for place in range(4)]


@pytest.fixture(scope="module")
def learnt(samples):
    """The logs of all steps of one process, and its weights."""
    with without_draws():
        return learn([rotated(samples, step) for step in range(STEPS)], parallel=False)


def halves(samples, steps):
    """The batches of both processes, step by step."""
    return [[rotated(samples, step)[rank::2] for rank in range(2)] for step in range(steps)]


def half_skipped(log):
    """A log of one process as each of two writes it."""
    return log | {"seg/skipped": log["seg/skipped"] / 2}


def learn_a_half(rank, samples):
    return learn([rotated(samples, step)[rank::2] for step in range(STEPS)], parallel=True)


def test_twenty_steps_of_two_processes_are_those_of_one(samples, learnt):
    """Losses within 1e-4 and weights within 1e-4, where training moves weights by more than 1e-2."""
    expected, weights = learnt
    start = build().state_dict()
    assert max(abs(start[name].numpy() - value).max() for name, value in weights.items()) > 1e-2
    assert expected[-1]["loss"] < expected[2]["loss"]
    assert any(log["loss_query"] > 0 for log in expected)
    for losses, own in on_two(learn_a_half, samples):
        for ours, wanted in zip(losses, expected, strict=True):
            assert ours == pytest.approx(half_skipped(wanted), rel=1e-4, abs=1e-5)
        assert own.keys() == weights.keys()
        for name, value in weights.items():
            torch.testing.assert_close(torch.tensor(own[name]), torch.tensor(value), atol=1e-4, rtol=0, msg=name)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9)


def learn_under_zero(rank, batches, stage, folder, first, bf16=False, decoder="shared"):
    """Train from step ``first`` on, which is read from ``folder`` if it is not 0; the middle is written there."""
    engine = deepspeed_engine(build(decoder), rank, stage, momentum, bf16, gradient_clipping=5.0)
    if first:
        engine.load_checkpoint(str(folder), tag=f"step_{first}")
    logs = []
    for step in range(first, len(batches)):
        losses = engine(**grounding_collate(batches[step][rank]), mode="loss")
        loss, log = engine.module.parse_losses(losses)
        engine.backward(loss)
        engine.step()
        logs.append({name: float(value) for name, value in log.items()})
        if step + 1 == STEPS_UNDER_ZERO // 2:
            engine.save_checkpoint(str(folder), tag=f"step_{step + 1}", exclude_frozen_parameters=True)
    return logs


@pytest.mark.parametrize("stage", [2, 3])
def test_ten_steps_under_zero_are_those_of_one_process(samples, learnt, stage, tmp_path):
    """And going on from its checkpoint gives the same losses once more."""
    batches, middle = halves(samples, STEPS_UNDER_ZERO), STEPS_UNDER_ZERO // 2
    expected = learnt[0][:STEPS_UNDER_ZERO]
    whole = on_two(learn_under_zero, batches, stage, tmp_path, 0)
    rest = on_two(learn_under_zero, batches, stage, tmp_path, middle)
    for logs, resumed in zip(whole, rest, strict=True):
        for ours, wanted in zip(logs, expected, strict=True):
            assert ours == pytest.approx(half_skipped(wanted), rel=1e-3, abs=1e-4)
        assert resumed == [pytest.approx(log, rel=1e-6) for log in logs[middle:]]


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_in_bf16_stays_close_to_one_process_in_fp32(samples, learnt, stage, tmp_path):
    """Within 3 %: weights have eight bits, and what is trained an fp32 copy beside."""
    steps = 4
    expected = [log["loss"] for log in learnt[0][:steps]]
    for logs in on_two(learn_under_zero, halves(samples, steps), stage, tmp_path, 0, True):
        assert [log["loss"] for log in logs] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("stage", "decoder"), [(2, "shared"), (3, "shared"), (3, "own")])
def test_under_zero_a_process_without_masks_or_images_takes_part(samples, stage, decoder, tmp_path):
    alone = [([0, 3], [1, 4]), ([0], [5]), ([1], [4]), ([5], [1])]
    batches = [[[samples[place] for place in places] for places in pair] for pair in alone]
    expected, _ = learn([[*first, *second] for first, second in batches], parallel=False, decoder=decoder)
    for logs in on_two(learn_under_zero, batches, stage, tmp_path, 0, False, decoder):
        for ours, wanted in zip(logs, expected, strict=True):
            assert ours == pytest.approx(half_skipped(wanted), rel=1e-3, abs=1e-4)


def gradients(batch, parallel, decoder="shared"):
    model = build(decoder)
    wrapped = MMDistributedDataParallel(model) if parallel else model
    losses = wrapped(**grounding_collate(batch), mode="loss")
    model.parse_losses(losses)[0].backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(value.isfinite() for value in losses.values())
    return {name: None if gradient is None else gradient.numpy() for name, gradient in found.items()}


def gradients_of_rank(rank, batches, decoder):
    return gradients(batches[rank], parallel=True, decoder=decoder)


@pytest.mark.parametrize("decoder", ["shared", "own"])
@pytest.mark.parametrize(
    ("first", "second"),
    [([0, 3], [1, 4]), ([0], [5]), ([1], [4]), ([5], [1])],
    ids=["masks and text alone", "masks and an image without", "text alone", "no mask anywhere"],
)
def test_a_process_without_masks_or_images_takes_part(samples, first, second, decoder):
    """No hang, no parameter without a gradient, and the gradient of all samples in one batch."""
    batches = [[samples[place] for place in places] for places in (first, second)]
    expected = gradients([*batches[0], *batches[1]], parallel=False, decoder=decoder)
    assert any(name.startswith("mask_decoder.decoder.") for name in expected) == (decoder == "own")
    assert all(gradient is not None for gradient in expected.values()) and len(expected) > 20
    for found in on_two(gradients_of_rank, batches, decoder):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                torch.tensor(found[name]), torch.tensor(value), atol=1e-5, rtol=1e-4, msg=f"{name} differs"
            )


def mask_losses(rank, numbers):
    """Losses of ``numbers[rank]`` masks that are all wrong, as far as that many."""
    logits = torch.full((numbers[rank], 4, 4), float(numbers[rank]))
    losses = MaskDecoder(8, 4, num_points=8).loss([logits], torch.zeros(len(logits), 8, 8))
    return {name: loss.item() for name, loss in losses.items()}


def test_each_mask_counts_the_same_on_whichever_process_it_is():
    """One mask here and three there: a mean of the two means would count the one as much as the three."""
    one, three = mask_losses(0, [1]), mask_losses(0, [3])
    halves = on_two(mask_losses, [1, 3])
    for name in one:
        assert sum(half[name] for half in halves) / 2 == pytest.approx((one[name] + 3 * three[name]) / 4, rel=1e-6)


def test_accumulated_gradients_are_those_of_the_large_batch(tmp_path):
    """Where the parts have as many tokens, masks and images; otherwise each part counts as much as the others."""
    samples = make_samples([refer_record(tmp_path, name, [label]) for name, label in (("a", "cup"), ("b", "dog"))])
    whole = gradients(samples, parallel=False)
    model = build()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 2)
    kept = {}
    wrapper.zero_grad = lambda: kept.update({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for sample in samples:
        model.train_step(grounding_collate([sample]), wrapper)
    assert kept.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(kept[name], torch.tensor(value), atol=1e-5, rtol=1e-4)


def test_resuming_goes_on_bit_by_bit(tmp_path):
    whole = on_two(train_on_rank, tmp_path / "whole", 8, None)
    rest = on_two(train_on_rank, tmp_path / "rest", 8, tmp_path / "whole" / "iter_5.pth")
    for (losses, draws), (resumed, resumed_draws) in zip(whole, rest, strict=True):
        assert resumed == {iteration: losses[iteration] for iteration in range(5, 8)}
        assert resumed_draws == draws[5 * BATCH :]
    assert not set(whole[0][1]) & set(whole[1][1]), "each process has draws of its own"


def train_on_rank(rank: int, work_dir: Path, iterations: int, checkpoint: Path | None):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    with process_state_restored():
        return train(work_dir, iterations, checkpoint, launcher="pytorch")


def autocast_losses(model, batch, **settings):
    with torch.autocast("cpu", torch.bfloat16, **settings):
        return model(**batch, mode="loss")


def test_bf16_autocast_gives_the_losses_of_fp32_within_its_precision(samples):
    model, batch = build(), grounding_collate(samples)
    exact = autocast_losses(model, batch, enabled=False)
    rough = autocast_losses(model, batch)
    model.parse_losses(rough)[0].backward()
    for name, value in exact.items():
        assert float(rough[name]) == pytest.approx(float(value), rel=0.03)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_weights_in_bf16_train_as_deepspeed_has_them(samples):
    exact = build()(**grounding_collate(samples), mode="loss")
    model = build().bfloat16()
    losses = model(**grounding_collate(samples), mode="loss")
    model.parse_losses(losses)[0].backward()
    for name, value in exact.items():
        assert float(losses[name]) == pytest.approx(float(value), rel=0.05)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
