"""A model with frozen parts: what its checkpoints hold, what may be loaded, and what stays in evaluation mode."""

import pytest
import torch
from torch import nn

from lira_plugin.models.partly_frozen import PartlyFrozenModel


class Model(PartlyFrozenModel):
    def __init__(self, frozen=()):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 1)
        self.freeze_parts(frozen)

    def forward(self, values):
        return self.head(self.encoder(values))


def test_a_state_dict_holds_what_is_trained():
    assert set(Model(["encoder"]).state_dict()) == {"head.weight", "head.bias"}
    assert set(Model().state_dict()) == set(nn.Module.state_dict(Model()))
    inside = Model(["encoder.0"]).state_dict()
    assert "encoder.1.running_mean" in inside and "encoder.0.weight" not in inside


def test_frozen_parts_need_no_gradient_and_stay_in_evaluation_mode():
    model = Model(["encoder"]).train()
    assert model.training and model.head.training and not model.encoder[1].training
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == {"head.weight", "head.bias"}


def test_what_was_saved_is_loaded_and_the_rest_stays():
    saved, model = Model(["encoder"]), Model(["encoder"])
    before = {name: value.clone() for name, value in nn.Module.state_dict(model).items() if name.startswith("encoder")}
    model.load_state_dict(saved.state_dict())
    assert torch.equal(model.head.weight, saved.head.weight)
    after = nn.Module.state_dict(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "change", [{"head.bias": None}, {"tail.weight": torch.zeros(1)}, {"head.bias": torch.zeros(2)}]
)
def test_a_state_that_does_not_fit_is_refused(change):
    state = {name: value for name, value in (Model(["encoder"]).state_dict() | change).items() if value is not None}
    with pytest.raises((RuntimeError, ValueError), match=next(iter(change))):
        Model(["encoder"]).load_state_dict(state)


def test_a_part_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="encodr"):
        Model(["encodr"])


def test_weights_are_kept_when_a_training_begins():
    model = Model()
    before = model.head.weight.clone()
    model.init_weights()
    assert torch.equal(model.head.weight, before)
