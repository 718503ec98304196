"""Images of GranDf to be asked about."""

import pytest
from support.random_gcg import SIZE, random_gcg, write_gcg

from lira_plugin.datasets import Draw, GCGTestDataset, MixtureDataset
from lira_plugin.structures import GCG_QUESTIONS


def build(truth, **settings):
    return GCGTestDataset(str(truth), "val", "images", [lambda results: results], **settings)


def test_records_are_the_images_with_the_first_question(tmp_path):
    masks, captions, predictions = random_gcg(2)
    _, truth = write_gcg(tmp_path, masks, captions, predictions)
    data = build(truth)
    records = [data[index]["record"] for index in range(len(data))]
    assert [record.record_id for record in records] == sorted(image["id"] for image in captions["images"])
    first = (
        "Can you provide a thorough description of the this image? Please output with"  # as LIRA's script asks first
    )
    for record in records:
        assert record.source == "gcg/val" and record.size == SIZE
        assert record.image_path == f"images/{record.record_id}.jpg"
        assert record.conversation.turns[0].question.startswith(first)
        own = [entry["segmentation"] for entry in masks["annotations"] if entry["image_id"] == record.record_id]
        assert [region.segmentations for region in record.regions] == [(mask,) for mask in own]
        (caption,) = [entry for entry in captions["annotations"] if entry["image_id"] == record.record_id]
        assert [region.phrase for region in record.regions] == caption["labels"]
        assert record.conversation.turns[0].answer == caption["caption"]


def test_a_further_draw_asks_the_next_question(tmp_path):
    _, truth = write_gcg(tmp_path, *random_gcg(2))

    def asked(data, draw_index):
        return GCG_QUESTIONS.index(data[Draw(3, draw_index)]["record"].conversation.turns[0].question)

    assert [asked(build(truth), draw_index) for draw_index in range(7)] == [1, 0, 2, 3, 4, 5, 1]
    mixture = MixtureDataset([build(truth, questions=(4, 2))])
    assert [asked(mixture, draw_index) for draw_index in range(3)] == [4, 2, 4]


@pytest.mark.parametrize("questions", [(), (6,), (0, -1)])
def test_the_pool_is_checked(questions, tmp_path):
    _, truth = write_gcg(tmp_path, *random_gcg(2))
    with pytest.raises(ValueError, match="questions must be indices 0..5, at least one"):
        build(truth, questions=questions)


def test_indices_are_checked(tmp_path):
    _, truth = write_gcg(tmp_path, *random_gcg(2))
    with pytest.raises(IndexError, match="gcg/val has 6 records, asked for index 6"):
        build(truth)[6]
