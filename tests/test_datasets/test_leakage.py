"""Which images of a training count as images of a test."""

import pytest

from lira_plugin.datasets.leakage import note_leakage
from lira_plugin.datasets.scans import ImageClaim, Scan


def scan_of(path, file="ann.json"):
    scan = Scan("own/any", lambda text: [])
    scan.images.append(ImageClaim("image 1", str(file), ("images", 0), str(path), None, "apply"))
    return scan


def leaks(train, test, **files):
    scan = scan_of(train, files.get("train_file", "train.json"))
    note_leakage([scan], [scan_of(test, files.get("test_file", "test.json"))])
    return [str(finding.kind) for finding in scan.findings] == ["leakage"]


@pytest.mark.parametrize(
    ("train", "test", "is_one"),
    [
        ("own/train/000000000001.jpg", "own/val/000000000001.jpg", False),
        ("coco/train2017/000000000001.jpg", "own/val/000000000001.jpg", False),
        ("own/train/a.jpg", "own/val/a.jpg", False),
        ("own/000000000001.jpg", "own/000000000001.jpg", True),
        ("coco/train2017/000000000001.jpg", "coco/train2014/COCO_train2014_000000000001.jpg", True),
        ("coco/train2017/000000000001.jpg", "other/val2017/000000000001.jpg", True),
        ("images/COCO_val2014_000000000001.jpg", "coco/train2017/000000000001.jpg", True),
        ("coco/train2017/000000000001.jpg", "coco/train2017/000000000002.jpg", False),
    ],
)
def test_images_are_told_apart_by_file_and_those_of_coco_by_id(tmp_path, train, test, is_one):
    assert leaks(tmp_path / train, tmp_path / test) is is_one


def test_a_link_is_the_file_that_it_leads_to(tmp_path):
    (tmp_path / "coco" / "train2017").mkdir(parents=True)
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "images").symlink_to(tmp_path / "coco" / "train2017")
    assert leaks(tmp_path / "b.jpg", tmp_path / "a.jpg")
    assert leaks(tmp_path / "images" / "000000000001.jpg", "COCO_val2014_000000000001.jpg")


@pytest.mark.parametrize("is_one", [True, False])
def test_pictures_beside_their_files_leak_where_their_content_is_one(tmp_path, is_one):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.jpg").write_bytes(b"same" if is_one else split.encode())
    files = {f"{name}_file": tmp_path / split / "1.json" for name, split in (("train", "train"), ("test", "val"))}
    assert leaks(tmp_path / "train/1.jpg", tmp_path / "val/1.jpg", **files) is is_one
