import json
import re

import pytest

from lira_plugin.datasets.annotation_files import load_coco, read_annotations


def content():
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 48, "width": 64} for n in (9, 4, 7)],
        "annotations": [{"id": n, "image_id": image} for n, image in ((5, 4), (1, 9), (3, 4))],
        "categories": [{"id": 17, "name": "cat"}, {"id": 3, "name": "car"}],
    }


def write(tmp_path, data):
    path = tmp_path / "instances_val.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_entries_are_found_by_id_in_file_order(tmp_path):
    coco = load_coco(write(tmp_path, content()))
    assert list(coco.images) == [9, 4, 7] and list(coco.annotations) == [5, 1, 3] and list(coco.categories) == [17, 3]
    for entries in (coco.images, coco.annotations, coco.categories):
        assert all(entry.id == number for number, entry in entries.items())


def test_annotations_are_grouped_by_image_and_an_image_may_have_none(tmp_path):
    grouped = load_coco(write(tmp_path, content())).annotations_by_image()
    assert {image: [entry.id for entry in entries] for image, entries in grouped.items()} == {
        9: [1],
        4: [5, 3],
        7: [],
    }
    assert list(grouped) == [9, 4, 7]


def test_categories_may_be_absent(tmp_path):
    data = content()
    del data["categories"]
    assert load_coco(write(tmp_path, data)).categories == {}


@pytest.mark.parametrize("text", ["{", "", "[1, 2"])
def test_what_is_not_json_is_an_error_that_names_the_file(tmp_path, text):
    with pytest.raises(ValueError, match=r"instances_val\.json is not a JSON file"):
        read_annotations(write(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        (
            lambda d: d["annotations"][1].update(id=5),
            "annotation 5 (position 1 of 'annotations')",
            "its id occurs twice",
        ),
        (lambda d: d["images"][1].pop("height"), "image 4 (position 1 of 'images')", "it lacks 'height'"),
        (
            lambda d: d["annotations"][0].pop("image_id"),
            "annotation 5 (position 0 of 'annotations')",
            "lacks 'image_id'",
        ),
        (lambda d: d["categories"][0].pop("id"), "category 0 (position 0 of 'categories')", "it lacks 'id'"),
        (lambda d: d["annotations"][0].update(image_id=2), "annotation 5 (position 0", "it names image 2"),
        (
            lambda d: d["annotations"][0].update(image_id="4"),
            "annotation 5 (position 0",
            "'4', which is not.*hold 4: write",
        ),
        (lambda d: d["images"][2].update(id="7"), "image 7 (position 2", "whole numbers and texts mixed: 9 and '7'"),
        (lambda d: d["images"].append(None), "image 3 (position 3", "must be an object: got None"),
    ],
)
def test_an_entry_that_is_not_sound_is_a_fault_with_its_section_and_position(tmp_path, change, where, message):
    data = content()
    change(data)
    fault = load_coco(write(tmp_path, data)).faults[0]
    assert fault.where.startswith(where) and re.search(message, str(fault.error))


def test_faults_do_not_hide_one_another_and_spoil_their_image_alone(tmp_path):
    data = content()
    data["images"][0]["width"] = "64"
    data["annotations"][0]["segmentation"] = 3
    data["images"].append({"id": 11, "file_name": "11.jpg", "height": 1, "width": 1})
    coco = load_coco(write(tmp_path, data))
    assert [fault.image_id for fault in coco.faults] == [9, 4]
    assert list(coco.annotations_by_image()) == [7, 11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "is not a COCO file"),
        (lambda d: d.update(categories=None), "'categories' must be a list of objects, got None"),
        (lambda d: d.update(annotations={"1": 2}), "'annotations' must be a list of objects, got {'1': 2}"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path, change, message):
    data = content()
    change(data)
    with pytest.raises(ValueError, match=rf"instances_val\.json.*{message}"):
        load_coco(write(tmp_path, data))


def test_a_list_is_not_a_coco_file(tmp_path):
    with pytest.raises(ValueError, match="is not a COCO file"):
        load_coco(write(tmp_path, [1]))
