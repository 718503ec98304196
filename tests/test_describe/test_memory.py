"""Bytes of weights, gradients, optimizer states and activations against numbers counted by hand."""

import pytest

from lira_plugin.describe import AMP, DEEPSPEED, ActivationShape, estimate_memory


def test_amp_holds_everything_in_fp32():
    memory = estimate_memory(1000, 100, AMP)
    assert (memory.weights, memory.gradients, memory.optimizer) == (4000, 400, 800)
    assert memory.total == 5200


@pytest.mark.parametrize(
    ("stage", "expected"),
    [(0, (2000, 200, 1200)), (1, (2000, 200, 300)), (2, (2000, 50, 300)), (3, (500, 50, 300))],
)
def test_each_stage_divides_one_thing_more(stage, expected):
    memory = estimate_memory(1000, 100, DEEPSPEED, stage, num_gpus=4, activations=7)
    assert (memory.weights, memory.gradients, memory.optimizer) == expected
    assert memory.total == sum(expected) + 7
    assert estimate_memory(1000, 100, DEEPSPEED, stage, 1).total == 3400, "one GPU has nothing to divide with"


@pytest.mark.parametrize(("stage", "num_gpus"), [(4, 1), (-1, 1), (2, 0)])
def test_what_does_not_exist_is_an_error(stage, num_gpus):
    with pytest.raises(ValueError, match="stage must be"):
        estimate_memory(1, 1, AMP, stage, num_gpus)


def test_activations_by_hand():
    """Hidden 10, keys 4, feed-forward 20: 7 * 10 + 3 * 4 + 4 * 20 = 162 values of 2 bytes a row."""
    shape = ActivationShape(layers=3, hidden=10, key_width=4, feed_forward=20, vocabulary=50, checkpointing=False)
    assert shape.layer_bytes(5) == 5 * 324
    assert shape.bytes(5, 0) == 3 * 5 * 324
    assert shape.bytes(5, 2) == 3 * 5 * 324 + 2 * 50 * 10
    adapted = ActivationShape(3, 10, 4, 20, 50, adapted=80, checkpointing=False)
    assert adapted.layer_bytes(5) == 5 * (324 + 80 * 3), "the input after dropout, and its mask"


def test_checkpointing_keeps_inputs_and_one_layer():
    shape = ActivationShape(layers=3, hidden=10, key_width=4, feed_forward=20, vocabulary=50)
    assert shape.bytes(5, 0) == 3 * 5 * 10 * 2 + 5 * 324
    assert shape.bytes(5, 5) == 3 * 5 * 10 * 2 + 50 * 5 * 10, "the logits are larger than a layer, and come before it"
    assert shape.bytes(5, 0) < ActivationShape(3, 10, 4, 20, 50, checkpointing=False).bytes(5, 0)
