import json

import pytest

from lira_plugin.datasets import CocoInstanceDataset, reader_report
from lira_plugin.datasets.findings import BadRecords

POLYGON = [[1, 2, 30, 2, 30, 20]]


def annotation(ann_id, image_id, category_id, **extra):
    return {"id": ann_id, "image_id": image_id, "category_id": category_id, "segmentation": POLYGON, **extra}


def content():
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 48, "width": 64} for n in (9, 4, 7)],
        "annotations": [
            annotation(1, 4, 90),
            annotation(2, 9, 3, iscrowd=0),
            annotation(3, 4, 17),
            annotation(4, 9, 3, iscrowd=1),
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 3, "name": "car"}, {"id": 90, "name": "brush"}],
    }


def build(tmp_path, data, **settings):
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps(data))
    return CocoInstanceDataset(str(path), "images", [lambda results: results], source="coco/val", **settings)


def test_records_follow_the_file(tmp_path):
    data = build(tmp_path, content())
    records = [data[n]["record"] for n in range(len(data))]
    assert [r.record_id for r in records] == ["9", "4", "7"]
    assert [r.image_path for r in records] == ["images/9.jpg", "images/4.jpg", "images/7.jpg"]
    assert [[region.phrase for region in r.regions] for r in records] == [["car"], ["brush", "cat"], []]
    assert records[1].regions[0].segmentations == (POLYGON,)
    assert records[0].size == (48, 64)
    assert [(t.question, t.answer) for t in records[0].conversation.turns] == [("", "")]


def test_categories_are_contiguous_in_order_of_their_ids(tmp_path):
    data = build(tmp_path, content())
    assert data.classes == ("car", "cat", "brush")
    for n in range(len(data)):
        for region in data[n]["record"].regions:
            assert data.classes[region.category_id] == region.phrase


def test_what_is_left_out_is_logged(tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(reader_report, "log_skipped", lambda source, path, skipped, done: logged.update(skipped))
    assert len(build(tmp_path, content(), filter_empty=True)) == 2
    assert logged == {"crowd annotations": ["annotation 4"], "images without a region": ["image 7"]}
    logged.clear()
    assert len(build(tmp_path, content())) == 3
    assert logged == {"crowd annotations": ["annotation 4"]}


def test_modality_length_is_never_zero(tmp_path):
    assert build(tmp_path, content()).modality_length == [1, 1, 1]


def broken(change):
    data = content()
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].pop("segmentation"), "annotation 1 of image 4: it has no 'segmentation'"),
        (
            lambda d: d["annotations"][0].update(category_id=5),
            r"annotation 1 of image 4: it names category 5.*\[3, 17, 90\]",
        ),
        (lambda d: d["annotations"][0].update(category_id="90"), r"category '90'.*hold 90: write the id as there"),
        (lambda d: d["annotations"][0].update(category_id=None), r"category None, which"),
    ],
)
def test_errors_name_the_file_and_the_entry(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"instances_val\.json.*{message}"):
        build(tmp_path, broken(change))


def test_no_image_left_is_an_error(tmp_path):
    data = {**content(), "annotations": []}
    with pytest.raises(ValueError, match=r"instances_val\.json holds no image"):
        build(tmp_path, data, filter_empty=True)


def test_bad_entries_are_named_at_once_or_their_images_left_out(tmp_path):
    data = content()
    data["annotations"][0]["category_id"] = 5
    data["images"][2]["height"] = -1
    with pytest.raises(BadRecords) as error:
        build(tmp_path, data)
    assert [finding.record for finding in error.value.findings] == ["7", "4"]
    assert "instances_val.json: image 7 (position 2 of 'images'): 'height' must be a whole number" in str(error.value)
    assert "annotation 1 of image 4" in str(error.value)
    sound = build(tmp_path, data, on_bad_record="skip")
    assert [sound[index]["record"].record_id for index in range(len(sound))] == ["9"]
