"""What detectors that read are given: the phrases of the regions as text, and labels that are their indices."""

import numpy as np
import pytest

from lira_plugin.datasets import ToDetInputs
from lira_plugin.structures import Conversation, Record, Region, Turn, encode_mask

MASKS = np.zeros((4, 6, 8), bool)
for index in range(4):
    MASKS[index, 1:3, index : index + 2] = True


def given(phrases, text="phrases", masks=MASKS):
    """What the transform makes of regions with these phrases; None is one without a target."""
    regions = tuple(
        Region("nothing", ()) if phrase is None else Region(phrase, (encode_mask(mask),), category_id=7)
        for phrase, mask in zip(phrases, masks)
    )
    record = Record("mine", "5", "5.jpg", Conversation((Turn("Where?", "there"),)), regions)
    image = np.zeros((6, 8, 3), np.uint8)
    return ToDetInputs(text=text).transform({"record": record, "image": image, "masks": masks[: len(phrases)].copy()})


def test_each_phrase_is_said_once_and_labels_are_its_index():
    results = given(["a star", "two rings", "two rings", "a cross"])
    assert results["text"] == ("a star", "two rings", "a cross")
    assert results["gt_bboxes_labels"].tolist() == [0, 1, 1, 2]
    assert given(["a star", "two rings"], text="question")["text"] == "Where?"
    assert given(["a star", "two rings"], text="question")["gt_bboxes_labels"].tolist() == [7, 7]


def test_a_region_without_a_phrase_is_true_but_not_looked_for():
    results = given(["a star", "", "a cross"])
    assert results["text"] == ("a star", "a cross") and results["gt_bboxes_labels"].tolist() == [0, 1]
    assert np.array_equal(results["gt_masks"].masks.astype(bool), MASKS[[0, 2]])
    assert np.array_equal(results["mask_target"].masks, MASKS[:3])


def test_a_phrase_without_a_target_is_asked_for_and_never_found():
    results = given(["a star", None])
    assert results["text"] == ("a star", "nothing") and results["gt_bboxes_labels"].tolist() == [0]


def test_a_region_without_a_pixel_is_not_learnt():
    masks = MASKS.copy()
    masks[0] = False
    results = given(["a star", "a cross"], masks=masks)
    assert results["gt_bboxes_labels"].tolist() == [1] and len(results["gt_masks"]) == 1


def test_without_a_phrase_there_is_nothing_to_look_for():
    with pytest.raises(ValueError, match="mine record 5: .*question"):
        given([""])
    with pytest.raises(ValueError, match="'caption'"):
        ToDetInputs(text="caption")
