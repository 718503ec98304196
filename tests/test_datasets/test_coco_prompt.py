"""COCO instances as PSALM builds them, compared with its rule: annotations of each class in the order of the classes."""

import json

import numpy as np
import pytest
from support.official_files import POLYGON, write_coco_instances

from lira_plugin.datasets import ILVC, CocoPromptDataset, DecodeRegions, LoadImage


@pytest.fixture
def data(tmp_path):
    write_coco_instances(tmp_path / "instances.json", tmp_path / "images")
    return build(tmp_path)


def build(tmp_path, **settings):
    ann_file, images = str(tmp_path / "instances.json"), str(tmp_path / "images")
    return CocoPromptDataset(ann_file, images, [lambda results: results], source="coco", **settings)


def test_all_categories_are_asked_for_and_every_instance_is_answered(data, tmp_path):
    record = data[0]["record"]
    (turn,) = record.conversation.turns
    assert turn.question == ("Please segment all of objects in this image. The candidate categories are: person, dog.")
    assert turn.answer == "person, dog, dog."
    content = json.loads((tmp_path / "instances.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    mine = [a for a in content["annotations"] if a["image_id"] == 9 and not a["iscrowd"]]
    expected = [names[a["category_id"]] for c in sorted(names) for a in mine if a["category_id"] == c]
    assert [turn.answer[span.start : span.end] for span in turn.spans] == expected
    assert [record.regions[span.region].phrase for span in turn.spans] == expected
    assert record.conversation.mentioned_regions == (0, 1, 2)
    assert all(region.segmentations == (POLYGON,) for region in record.regions)
    assert [data.classes[region.category_id] for region in record.regions] == expected


def test_images_without_an_object_are_kept_and_say_so(data, tmp_path):
    assert len(data) == 2
    record = data[1]["record"]
    (turn,) = record.conversation.turns
    assert "person, dog" in turn.question and turn.answer == "There is no object of these categories."
    assert record.regions == () and turn.spans == ()
    assert len(build(tmp_path, filter_empty=True)) == 1


def test_a_test_asks_for_one_of_two_prompts(tmp_path, data):
    asked = build(tmp_path, suffix=" Look.")
    assert (
        asked[0]["record"].conversation.turns[0].question == data[0]["record"].conversation.turns[0].question + " Look."
    )
    assert asked.protocols()["coco"]["suffix"] == " Look."


def test_two_prompts_switch_views_on_and_off(data):
    template = {"system": "", "instruction": "{input}", "suffix": ""}
    steps = [LoadImage(), DecodeRegions(), ILVC(size=32, template=template, prob=0.5, suffixes=(" LOOK", " DO NOT"))]
    seen = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        results = {"record": data.get_record(0, rng), "rng": rng, "index": 0}
        for step in steps:
            results = step(results)
        question = "".join(part.text for part in results["parts"] if hasattr(part, "text") and not part.answer)
        grounded = [part for part in results["parts"] if hasattr(part, "before")]
        with_views = question.endswith(" LOOK")
        assert with_views or question.endswith(" DO NOT")
        assert len(grounded) == 3 and len(results["view_tiles"]) == (3 if with_views else 0)
        assert all(("<image_id>" in part.before) == with_views for part in grounded)
        seen.add(with_views)
    assert seen == {True, False}
