"""Targets and predictions that any model can give, and the samples and answers made of them."""

import numpy as np
import pytest
import torch

from lira_plugin.structures import GroundedSpan, GroundedText, MaskPrediction, MaskTarget, decode_union

RNG = np.random.default_rng(0)
MASKS = RNG.random((2, 5, 7)) > 0.5


@pytest.mark.parametrize(
    "masks",
    [MASKS, torch.from_numpy(MASKS), list(MASKS), [torch.from_numpy(mask) for mask in MASKS]],
    ids=lambda m: type(m),
)
@pytest.mark.parametrize("kind", [MaskTarget, MaskPrediction])
def test_masks_come_as_arrays_tensors_and_lists(kind, masks):
    assert np.array_equal(kind(masks).masks, MASKS)
    assert np.array_equal(kind(masks[0]).masks, MASKS[:1]), "one mask is one"


def test_a_target_survives_being_a_sample():
    given = MaskTarget(
        MASKS,
        ("a dog", "grass"),
        labels=(3, 1),
        ignored=MASKS[0],
        source="s/val",
        record_id="9",
        index=4,
        question="What?",
    )
    sample = given.sample()
    assert [np.array_equal(decode_union(r.segmentations, 5, 7), mask) for r, mask in zip(sample.regions, MASKS)] == [
        True
    ] * 2
    again = MaskTarget.of_sample(sample)
    for name in ("phrases", "labels", "source", "record_id", "index", "question"):
        assert getattr(again, name) == getattr(given, name), name
    assert np.array_equal(again.masks, MASKS) and np.array_equal(again.ignored, MASKS[0])


def test_nothing_to_find_is_a_region_without_a_target():
    target = MaskTarget(np.zeros((0, 5, 7), bool))
    (region,) = target.sample().regions
    assert not region.has_target and target.size == (5, 7)
    assert MaskTarget.of_sample(target.sample()).masks.shape == (0, 5, 7)


def test_a_mask_without_a_pixel_is_still_something_to_find():
    (region,) = MaskTarget(np.zeros((5, 7), bool)).sample().regions
    assert region.has_target


def test_a_prediction_survives_being_an_answer():
    given = MaskPrediction(MASKS, ("dog", "dog"), scores=(0.5, 0.25), text="a dog and a dog")
    answer = given.grounded_text()
    assert [(span.start, span.end) for span in answer.spans] == [(2, 5), (12, 15)]
    again = MaskPrediction.of_text(answer, (5, 7))
    assert np.array_equal(again.masks, MASKS) and again.phrases == ("dog", "dog")
    assert again.scores == (0.5, 0.25) and again.text == given.text


def test_phrases_that_the_text_does_not_spell_are_at_its_start():
    answer = MaskPrediction(MASKS[0], ("cat",), text="a dog").grounded_text()
    assert answer == GroundedText("a dog", (GroundedSpan(0, 0, "cat", answer.spans[0].mask, score=1.0),))


def test_an_answer_without_masks_has_none():
    assert MaskPrediction.of_text(GroundedText("no"), (5, 7)).masks.shape == (0, 5, 7)
    assert MaskPrediction(np.zeros((0, 5, 7), bool)).grounded_text().spans == ()


def test_instances_are_tensors():
    found = MaskPrediction(MASKS, scores=torch.tensor([0.5, 1]), labels=torch.tensor([2, 0])).instances()
    assert found["labels"].tolist() == [2, 0] and found["scores"].tolist() == [0.5, 1.0]
    assert torch.equal(found["masks"], torch.from_numpy(MASKS)) and "labels" not in MaskPrediction(MASKS).instances()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskPrediction(MASKS * 0.5), r"must be bool of shape .* got float64 \(2, 5, 7\)"),
        (lambda: MaskPrediction([]), r"give \(0, height, width\) where there is no mask"),
        (lambda: MaskPrediction([MASKS[0], MASKS[1][:3]]), "must be of one size"),
        (lambda: MaskPrediction(MASKS, ("dog",)), "has 2 masks but 1 phrases: "),
        (lambda: MaskTarget(MASKS, labels=(1, 2, 3), source="s", record_id="9"), "s record 9: .* 2 masks but 3 labels"),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
