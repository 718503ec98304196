"""Masks without a pixel: found by readers or when a sample is made, counted, named, and never learnt."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_model import IMAGE, make_batch, make_samples, refer_record, tiny_lira

from lira_plugin.datasets import (
    CocoInstanceDataset,
    CutViews,
    DecodeRegions,
    GCGDataset,
    LetterboxImage,
    LoadImage,
    PackGroundingInputs,
    ReferSegDataset,
    reader_report,
)
from lira_plugin.datasets.empty_masks import EMPTY_ANNOTATION, EMPTY_EXPRESSION, EMPTY_PHRASE
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.structures import IGNORE_INDEX, Region, decode_segmentation, encode_mask, is_empty_annotation

HEIGHT, WIDTH = 48, 64
ALL_ZERO = encode_mask(np.zeros((HEIGHT, WIDTH), bool))
UNCOMPRESSED = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
TOLD_BY_FORM = {
    "nothing": [],
    "null": None,
    "all zero": ALL_ZERO,
    "all zero, uncompressed": UNCOMPRESSED,
    "all zero, in a list": [ALL_ZERO, UNCOMPRESSED],
    "a run of ones without a pixel": {"size": [HEIGHT, WIDTH], "counts": [5, 0, HEIGHT * WIDTH - 5]},
}
TOLD_BY_PIXELS = {
    "a point": [[3, 3, 3, 3, 3, 3]],
    "a line": [[1.2, 1.2, 20.2, 1.2, 10.2, 1.2]],
    "below a pixel": [[2.1, 2.1, 2.2, 2.1, 2.2, 2.2]],
}
SOUND = encode_mask(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % WIDTH > 30)
each_form = pytest.mark.parametrize("segmentation", TOLD_BY_FORM.values(), ids=TOLD_BY_FORM)
each_empty = pytest.mark.parametrize(
    "segmentation", [*TOLD_BY_FORM.values(), *TOLD_BY_PIXELS.values()], ids=[*TOLD_BY_FORM, *TOLD_BY_PIXELS]
)


# By form


@each_empty
def test_they_have_no_pixel(segmentation):
    assert not decode_segmentation(segmentation, HEIGHT, WIDTH).any()


@each_form
def test_what_is_told_by_its_form(segmentation):
    assert is_empty_annotation(segmentation)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_it_is_told_of_every_compressed_mask_and_of_no_other(height, width, data):
    mask = np.array(
        data.draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=height * width, max_size=height * width))
    )
    mask = mask.reshape(height, width).astype(bool)
    assert is_empty_annotation(encode_mask(mask)) == (not mask.any())


@pytest.mark.parametrize(
    "segmentation",
    [SOUND, [[1, 1, 9, 1, 9, 9]], [ALL_ZERO, SOUND], {"size": [1, 1]}, {"size": [1, 1], "counts": ""}, "text", 7, [7],
     {"size": [1, 1], "counts": None}, {"size": [1, 1], "counts": [1, "0"]}, [None], [[]]],
)  # fmt: skip
def test_it_is_not_told_of_sound_or_malformed_ones(segmentation):
    assert not is_empty_annotation(segmentation)


# Readers


def write_refer(folder, segmentations):
    (folder / "refcoco").mkdir()
    refs = [
        {"ref_id": n, "ann_id": n, "image_id": 1, "split": "val", "sentences": [{"sent": f"thing {n}", "sent_id": n}]}
        for n in range(len(segmentations))
    ]
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    annotations = [{"id": n, "image_id": 1, "category_id": 1, "segmentation": s} for n, s in enumerate(segmentations)]
    images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    instances = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "refcoco" / "instances.json").write_text(json.dumps(instances))
    return str(folder / "refcoco" / "instances.json")


def read_refer(folder, **settings):
    return ReferSegDataset(str(folder), "refcoco", "val", "images", [lambda results: results], **settings)


def note_skipped(monkeypatch):
    noted = {}
    monkeypatch.setattr(reader_report, "log_skipped", lambda source, path, found, done="": noted.update(found))
    return noted


@each_form
def test_a_training_on_expressions_leaves_them_out(tmp_path, monkeypatch, segmentation):
    noted = note_skipped(monkeypatch)
    write_refer(tmp_path, [SOUND, segmentation])
    data = read_refer(tmp_path, num_expressions=5)
    assert [region.phrase for region in data[0]["record"].regions] == ["thing 0"]
    assert noted[EMPTY_EXPRESSION] == ["1-1"]


@each_form
def test_an_evaluation_keeps_them_as_targets(tmp_path, monkeypatch, segmentation):
    noted = note_skipped(monkeypatch)
    write_refer(tmp_path, [SOUND, segmentation])
    data = read_refer(tmp_path)
    assert [data[n]["record"].regions[0].has_target for n in range(len(data))] == [True, True]
    assert noted[EMPTY_EXPRESSION] == ["1-1: no answer finds it"]


def test_where_no_expression_is_left_that_is_said(tmp_path):
    write_refer(tmp_path, [[], None])
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p holds no sentence of split 'val'.*no pixel"):
        read_refer(tmp_path, num_expressions=1)


def test_a_caption_keeps_the_words_of_a_phrase_that_is_left_out(tmp_path, monkeypatch):
    noted = note_skipped(monkeypatch)
    groundings = {
        "A dog": {"token_positives": [0, 5], "rle_masks": [SOUND]},
        "a cat": {"token_positives": [9, 14], "rle_masks": [ALL_ZERO, UNCOMPRESSED]},
    }
    entry = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "image_id": "7", "caption": "A dog or a cat."}
    (tmp_path / "gcg.json").write_text(json.dumps([entry | {"groundings": groundings}]))
    data = GCGDataset(str(tmp_path / "gcg.json"), "images", "grandf", [lambda results: results])
    record = data[0]["record"]
    assert record.conversation.turns[0].answer == "A dog or a cat."
    assert [region.phrase for region in record.regions] == ["A dog"] and len(record.conversation.turns[0].spans) == 1
    assert noted[EMPTY_PHRASE] == ["7: 'a cat'"]
    del groundings["A dog"]
    (tmp_path / "none.json").write_text(json.dumps([entry | {"groundings": groundings}]))
    with pytest.raises(ValueError, match="record 7 .*: the record has no region"):
        GCGDataset(str(tmp_path / "none.json"), "images", "grandf", [lambda results: results])


@each_form
def test_a_segmenter_does_not_get_them(tmp_path, monkeypatch, segmentation):
    noted = note_skipped(monkeypatch)
    path = write_refer(tmp_path, [SOUND, segmentation])
    data = CocoInstanceDataset(path, "images", [lambda results: results])
    assert len(data[0]["record"].regions) == 1
    assert noted[EMPTY_ANNOTATION] == ["annotation 1"]


# Samples


def with_empty(record, segmentation, region):
    regions = list(record.regions)
    regions[region] = replace(regions[region], segmentations=(segmentation,))
    return replace(record, regions=tuple(regions))


@each_empty
@pytest.mark.parametrize("prob", [0, 1])
def test_the_seg_of_a_region_without_a_pixel_is_not_supervised(tmp_path, segmentation, prob):
    record = refer_record(tmp_path, "a", ["dog", "cat", "cup"])
    sound, empty = make_samples([record, with_empty(record, segmentation, 1)], prob=prob)
    assert (sound.empty_regions, empty.empty_regions, empty.dropped_regions) == (0, 1, 0)
    assert empty.masks.flatten(1).any(1).all() and len(empty.masks) == 2
    assert empty.seg_mask_index.tolist() == [0, 0, 1, 1][:: 2 - prob]
    assert torch.equal(empty.input_ids, sound.input_ids) and torch.equal(empty.kinds, sound.kinds)
    kept, learnt = sound.labels != IGNORE_INDEX, empty.labels != IGNORE_INDEX
    assert torch.equal(empty.labels[learnt], sound.labels[learnt]) and (kept & ~learnt).any()
    (phrase,) = make_samples([refer_record(tmp_path, "b", ["cat"])], prob=prob)
    text = (phrase.labels != IGNORE_INDEX).sum() - len(".") - 1  # and the end of the turn
    assert (kept & ~learnt).sum() == text, "all of the phrase, and nothing else"


def test_an_object_that_vanishes_at_the_letterbox_is_found(tmp_path):
    """Four pixels of an image that is made a hundred times smaller."""
    record = refer_record(tmp_path, "a", ["dog", "cat"], height=40, width=100 * IMAGE)
    mask = np.zeros((40, 100 * IMAGE), bool)
    mask[3:5, 3:5] = True
    (sample,) = make_samples([with_empty(record, encode_mask(mask), 0)])
    assert mask.any() and sample.empty_regions >= 1
    assert sample.masks.flatten(1).any(1).all() and len(sample.masks) == 2 - sample.empty_regions


def test_a_training_counts_them_and_learns_the_rest(tmp_path):
    record = refer_record(tmp_path, "a", ["dog", "cat"])
    losses = tiny_lira()(**make_batch([record, with_empty(record, [], 0)]), mode="loss")
    assert losses["seg/skipped"] == 1 and losses["loss_mask"] > 0
    alone = tiny_lira()(**make_batch([with_empty(refer_record(tmp_path, "b", ["dog"]), [], 0)]), mode="loss")
    assert alone["seg/skipped"] == 1 and alone["loss_mask"] == 0
    assert all(value.isfinite() for value in alone.values())


def test_in_a_prompt_nothing_changes(tmp_path):
    """An answer before may have had an empty mask; its tokens and view are what the model has said and seen."""
    record = refer_record(tmp_path, "a", ["dog", "cat"])
    prompt, empty = make_samples([record, with_empty(record, [], 0)], for_generation=True)
    assert torch.equal(prompt.input_ids, empty.input_ids) and len(empty.view_tiles) == 1
    assert empty.empty_regions == 0 and len(empty.regions) == 2


def test_without_words_only_regions_with_pixels_are_learnt_each_with_its_view(tmp_path):
    record = refer_record(tmp_path, "a", ["dog", "cat", "cup"])
    record = replace(record, regions=tuple(replace(r, category_id=n) for n, r in enumerate(record.regions)))
    steps = [LoadImage(), DecodeRegions(), LetterboxImage(size=IMAGE), CutViews(size=16), PackGroundingInputs()]
    pipeline = build_pipeline(steps)
    whole, some = (
        pipeline({"record": r, "rng": np.random.default_rng(0)}) for r in (record, with_empty(record, [], 1))
    )
    assert some.mask_labels.tolist() == [0, 2] and some.empty_regions == 1
    assert torch.equal(some.view_tiles, whole.view_tiles[[0, 2]]) and torch.equal(some.masks, whole.masks[[0, 2]])


def test_no_target_is_what_the_annotation_says():
    assert not Region("dog", ()).has_target
    assert all(Region("dog", (form,)).has_target for form in [*TOLD_BY_FORM.values(), *TOLD_BY_PIXELS.values()])
