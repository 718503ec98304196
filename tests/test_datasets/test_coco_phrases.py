"""Own masks as RefSeg: categories of a COCO file are the phrases, compared with its annotations."""

import json

import numpy as np
import pytest

from lira_plugin.datasets import CocoPhraseDataset, Draw
from lira_plugin.structures import decode_union

BOXES = [(0, "Long crack", (2, 2, 9, 9)), (0, "stain", (20, 5, 30, 15)), (0, "long crack", (12, 20, 30, 30))]


def box(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


@pytest.fixture
def ann_file(tmp_path):
    names = [*dict.fromkeys(name for _, name, _ in BOXES)]
    annotations = [
        {"id": position, "image_id": image, "category_id": names.index(name) + 7, "segmentation": box(*corners)}
        for position, (image, name, corners) in enumerate(BOXES)
    ]
    images = [{"id": i, "file_name": f"wall_{i}.jpg", "height": 40, "width": 40} for i in range(2)]
    categories = [{"id": position + 7, "name": name} for position, name in enumerate(names)]
    path = tmp_path / "walls.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(path)


def build(ann_file, **settings):
    return CocoPhraseDataset(ann_file, "images", [lambda results: results], source="walls", **settings)


def painted(*corners):
    mask = np.zeros((40, 40), bool)
    for x0, y0, x1, y1 in corners:
        mask[y0:y1, x0:x1] = True
    return mask


EXPECTED = {"long crack": painted(BOXES[0][2], BOXES[2][2]), "stain": painted(BOXES[1][2])}


def test_each_phrase_is_asked_once_with_all_of_its_masks(ann_file):
    data = build(ann_file)
    records = [data[index]["record"] for index in range(len(data))]
    assert [record.conversation.turns[0].question for record in records] == [
        "Please segment long crack.",
        "Please segment stain.",
    ], "the image without annotation is left out"
    assert len({record.record_id for record in records}) == 2
    for record, (phrase, mask) in zip(records, EXPECTED.items()):
        (region,) = record.regions
        assert region.phrase == phrase and (decode_union(region.segmentations, 40, 40) == mask).all()
        assert record.image_path == "images/wall_0.jpg" and record.size == (40, 40)


def test_training_draws_phrases_of_an_image(ann_file):
    data = build(ann_file, num_expressions=2)
    assert len(data) == 1
    orders = set()
    for draw in range(8):
        record = data[Draw(0, draw)]["record"]
        phrases = [turn.answer.rstrip(".") for turn in record.conversation.turns]
        orders.add(tuple(phrases))
        assert sorted(phrases) == sorted(EXPECTED) and record.conversation.mentioned_regions == (0, 1)
        for turn, phrase in zip(record.conversation.turns, phrases):
            region = record.regions[turn.spans[0].region]
            assert region.phrase == phrase and (decode_union(region.segmentations, 40, 40) == EXPECTED[phrase]).all()
    assert len(orders) == 2
    single = build(ann_file, num_expressions=1)
    assert len(single[0]["record"].regions) == 1
    assert [len(record.regions) for record in single.whole_records(0)] == [1, 1]


def test_wrong_arguments(ann_file):
    with pytest.raises(ValueError, match="num_expressions must be positive"):
        build(ann_file, num_expressions=0)
