"""A semantic encoder alone: what it learns from, what it says, and that LIRA takes it."""

import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from support.processes import on_two_processes
from support.tiny_model import TILE, H, refer_record, semantic_encoder_config, tiny_lira

from lira_plugin.datasets import (
    CutViews,
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    PackGroundingInputs,
    grounding_collate,
)
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.models import ViewClassifier

ATTRIBUTES = [2, 2]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ViewClassifier(semantic_encoder_config(), H, ATTRIBUTES)


@pytest.fixture
def samples(tmp_path):
    """Two images with two regions and one; views, but neither text nor tiles."""
    steps = [LoadImage(), DecodeRegions(), LetterboxImage(size=32), CutViews(size=TILE), PackGroundingInputs()]
    pipeline, rng = build_pipeline(steps), np.random.default_rng(0)
    records = [refer_record(tmp_path, "a", ["cat", "dog"]), refer_record(tmp_path, "b", ["cup"])]
    return [pipeline({"record": record, "rng": rng}) for record in records]


def labelled(samples, labels):
    data = grounding_collate(samples)
    return data | {"batch": data["batch"]._replace(mask_labels=torch.tensor(labels))}


@pytest.fixture
def data(samples):
    """Regions of the classes 2, 0 and 3."""
    return labelled(samples, [2, 0, 3])


def test_losses_and_answers_follow_the_logits(model, data):
    """Class by class: a logit is the sum of what the mean token says of the class's two attributes."""
    batch = data["batch"]
    with torch.no_grad():
        losses, logits, answers = (model(**data, mode=mode) for mode in ("loss", "tensor", "predict"))
        tokens = model.semantic_encoder(batch.view_tiles).mean(1)
        projected = tokens @ model.classifier.projection.weight.T + model.classifier.projection.bias
        expected = torch.stack([projected[:, a] + projected[:, 2 + b] for a in range(2) for b in range(2)], 1)
    torch.testing.assert_close(logits[:, :4], expected)
    probabilities = logits.exp() / logits.exp().sum(1, keepdim=True)
    picked = [probabilities[row, label] for row, label in enumerate(batch.mask_labels)]
    assert float(losses["loss_cls"]) == pytest.approx(-float(torch.stack(picked).log().mean()), abs=1e-5)
    named = logits.argmax(1)
    assert float(losses["accuracy"]) == pytest.approx(float((named == batch.mask_labels).float().mean()))
    assert [len(answer.labels) for answer in answers] == [2, 1]
    assert torch.equal(torch.cat([answer.labels for answer in answers]), named)
    torch.testing.assert_close(torch.cat([answer.scores for answer in answers]), probabilities.amax(1))


def test_it_learns_what_views_show_and_the_log_says_so(model, data):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        loss, logs = model.parse_losses(model(**data))
        assert set(logs) == {"loss", "loss_cls", "accuracy"}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logs["accuracy"] == 1.0 and logs["loss"] == logs["loss_cls"] < 0.2
    assert all(parameter.grad.any() for name, parameter in model.named_parameters() if "pos_embed" not in name)


def learn(batch, parallel):
    """Five steps on a batch; the logs of each, and the weights."""
    torch.manual_seed(0)
    model = ViewClassifier(semantic_encoder_config(), H, ATTRIBUTES)
    model = MMDistributedDataParallel(model) if parallel else model
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    logs = [{name: float(value) for name, value in model.train_step(batch, wrapper).items()} for _ in range(5)]
    return logs, {name: value.numpy() for name, value in (model.module if parallel else model).state_dict().items()}


def learn_a_share(rank, batches):
    return learn(batches[rank], parallel=True)


def test_two_processes_with_unequal_shares_learn_as_one(samples, data):
    """One has two views and the other one, and each view counts as much."""
    logs, weights = learn(data, parallel=False)
    assert logs[-1]["loss"] < logs[0]["loss"]
    shares = [labelled(samples[:1], [2, 0]), labelled(samples[1:], [3])]
    for ours, learnt in on_two_processes(learn_a_share, shares):
        assert ours == [pytest.approx(step, rel=1e-4, abs=1e-5) for step in logs]
        for name, value in weights.items():
            torch.testing.assert_close(torch.tensor(learnt[name]), torch.tensor(value), atol=1e-5, rtol=0, msg=name)


def test_a_batch_without_regions_costs_nothing_and_touches_every_weight(model, data):
    """As the batch of one process may be: the others wait for its gradients."""
    empty = data["batch"]._replace(view_tiles=data["batch"].view_tiles[:0], mask_labels=data["batch"].mask_labels[:0])
    losses = model(empty)
    assert float(losses["loss_cls"]) == float(losses["accuracy"]) == 0
    losses["loss_cls"].backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_lira_starts_from_its_encoder(model, tmp_path):
    torch.save({"state_dict": model.state_dict()}, tmp_path / "semantic.pth")
    others = ["pixel_encoder", "sefe", "llm", "mask_decoder"]
    stage = {"path": tmp_path / "semantic.pth", "may_lack": others, "ignore": ["classifier"]}
    lira = tiny_lira(seed=1, init_from=[stage])
    state = lira.semantic_encoder.state_dict()
    assert state.keys() == model.semantic_encoder.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.semantic_encoder.state_dict().items())


def test_a_checkpoint_of_something_else_is_refused(model):
    state = {name.replace("classifier", "head"): value for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"unknown: head\..*missing: classifier\."):
        model.load_state_dict(state, strict=False)  # as MMEngine does
    model.load_state_dict(model.state_dict(), strict=False)


def test_what_does_not_fit_is_an_error(model, data):
    batch = data["batch"]
    with pytest.raises(ValueError, match="each of the 3 regions is needed, got 0 views: put CutViews"):
        model(batch._replace(view_tiles=batch.view_tiles[:0]))
    with pytest.raises(ValueError, match="'loss', 'predict' or 'tensor', got 'train'"):
        model(**data, mode="train")
