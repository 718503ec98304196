import json

import pytest

from lira_plugin.datasets.annotation_files import load_coco, read_json


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
        assert all(entry["id"] == number for number, entry in entries.items())


def test_annotations_are_grouped_by_image_and_an_image_may_have_none(tmp_path):
    grouped = load_coco(write(tmp_path, content())).annotations_by_image()
    assert {image: [entry["id"] for entry in entries] for image, entries in grouped.items()} == {
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
        read_json(write(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][1].update(id=5), "id 5 occurs twice in 'annotations'"),
        (lambda d: d["images"][1].pop("height"), r"entry 1 of 'images' \(id 4\) lacks \['height'\]"),
        (lambda d: d["annotations"][0].pop("image_id"), r"entry 0 of 'annotations' \(id 5\) lacks \['image_id'\]"),
        (lambda d: d["categories"][0].pop("id"), r"entry 0 of 'categories' \(id None\) lacks \['id'\]"),
        (lambda d: d.pop("images"), "is not a COCO file"),
        (lambda d: d["annotations"][0].update(image_id=2), "annotation 5 names image 2"),
    ],
)
def test_errors_name_the_file_and_the_entry(tmp_path, change, message):
    data = content()
    change(data)
    with pytest.raises(ValueError, match=rf"instances_val\.json.*{message}"):
        load_coco(write(tmp_path, data)).annotations_by_image()


def test_a_list_is_not_a_coco_file(tmp_path):
    with pytest.raises(ValueError, match="is not a COCO file"):
        load_coco(write(tmp_path, [1]))
