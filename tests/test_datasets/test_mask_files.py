"""Label maps and CSV tables with PNG masks, against NumPy."""

import json

import numpy as np
import pytest
from support.people_files import CAT, CUP, decoded, label_maps, masks_csv, png_of, write_csv, write_pictures

from lira_plugin.datasets import CsvMaskDataset, LabelMapDataset
from lira_plugin.datasets.label_maps import read_names


def records_of(data):
    return [data.get_record(index, np.random.default_rng(0)) for index in range(len(data))]


def test_each_value_is_a_phrase_and_255_is_ignored(tmp_path):
    records = records_of(LabelMapDataset(label_maps(tmp_path)))
    assert [record.record_id for record in records] == ["a-1", "a-3", "b-3"]
    corner = np.zeros_like(CAT)
    corner[:2, :2] = True
    for record, phrase, mask, ignored in zip(records, ("cat", "cup", "cup"), (CAT, CUP, CUP), (corner, corner, None)):
        (region,) = record.regions
        assert region.phrase == phrase and np.array_equal(decoded(region.segmentations), mask)
        assert (decoded(region.ignored) == ignored).all() if ignored is not None else not region.ignored
        assert record.size == CAT.shape and record.image_path == str(tmp_path / "images" / f"{record.record_id[0]}.png")


def test_values_of_one_name_are_one_phrase_and_a_training_takes_an_image(tmp_path):
    root = label_maps(tmp_path)
    (tmp_path / "classes.txt").write_text("1 thing\n3: Thing\n")
    (record, _) = records_of(LabelMapDataset(root))
    assert np.array_equal(decoded(record.regions[0].segmentations), CAT | CUP)
    assert len(LabelMapDataset(root, num_expressions=2)) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "cat\ndog\n\n", {1: "cat", 2: "dog"}),
        ("a.txt", "__ignore__\n_background_\ncat\n", {0: "_background_", 1: "cat"}),
        ("a.txt", "cat\nRoom 2b\n3d printer\n2-door car", {1: "cat", 2: "room 2b", 3: "3d printer", 4: "2-door car"}),
        ("a.txt", "Area 51", {1: "area 51"}),
        ("a.txt", "level 1\nlevel 2", {1: "level 1", 2: "level 2"}),
        ("a.txt", "# id name\n1 cat\n2 dog", {1: "cat", 2: "dog"}),
        ("a.txt", "background\ncat\nignore", {0: "background", 1: "cat"}),
        ("a.txt", "1 cat\n7,Red Car", {1: "cat", 7: "red car"}),
        ("a.json", '{"1": "cat", "2": "dog"}', {1: "cat", 2: "dog"}),
        ("a.json", '{"cat": 1, "dog": 2}', {1: "cat", 2: "dog"}),
        ("a.json", '[{"id": 4, "name": "cat"}]', {4: "cat"}),
    ],
)
def test_files_of_names(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    assert read_names(str(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "", "names no class"),
        ("a.txt", "1 cat\n1 dog", "value 1 has two names"),
        ("a.txt", "-1 ignore\n0 background\n1 cat", "line 1: '-1 ignore' has no value"),
        ("a.txt", "0 background\n1 cat\ndog", "line 3: 'dog' has no value"),
        ("a.txt", "id name\n1 cat\n2 dog", "line 1: 'id name' has no value"),
        ("a.txt", "1 cat\n12345678901 dog", "line 2: '12345678901 dog' has no value"),
        ("a.txt", "1 cat\n2", "line 2: '2' has no value"),
        ("a.txt", "0. background\n1. cat", "line 1: '0. background' is neither"),
        ("a.txt", "cat: 1\ndog: 2", "line 1: 'cat: 1' is neither"),
        ("a.txt", "cat\n\n(2) dog", r"line 3: '\(2\) dog' is neither"),
        ("a.txt", "background 0\ncat 1", "line 1: 'background 0' ends with a value"),
        ("a.txt", "background: 0\ncat: 1", "line 1: 'background: 0' ends with a value"),
        ("a.txt", "cat\n__ignore__\ndog", "line 2: '__ignore__' is not the first or last"),
        ("a.txt", "1\t0.15\t7\twall", "line 1: .* holds more than a name"),
        ("a.txt", "# label:color:parts\nbackground:0,0,0::\ncat:128,0,0::", "line 2: .* holds more than a name"),
        ("a.json", '[{"id": [1], "name": "x"}]', r"got \[1\]: 'x'"),
        ("a.json", '[{"id": 1, "name": ["x"]}]', r"got 1: \['x'\]"),
        ("a.json", '[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]', "value 1 has two names"),
        ("a.json", '[{"id": 1, "name": "cat"}, "dog"]', "entry 1 must be .* got 'dog'"),
        ("a.json", '[{"id": 1, "name": "cat"}, {"id": 2}]', r"entry 1 must be .* got \{'id': 2\}"),
        ("a.json", '{"1": "cat", "1": "dog"}', r"got '1': 2 values \(the key '1'"),
        ("a.json", '{"cat": 1, "cat": 2}', r"got 'cat': 2 values \(the key 'cat'"),
        ("a.json", '[{"id": 1, "id": 2, "name": "cat"}]', r"got 2 values \(the key 'id'"),
        ("a.json", '{"1": "cat", "01": "dog"}', "value 1 has two names"),
        ("a.json", "[3]", "entry 0 must be"),
        ("a.json", "3", "must be an object"),
        ("a.json", '{"1": ["cat"]}', r"'1': \['cat'\]"),
        ("a.json", '{"1": " "}', "got '1'"),
        ("a.json", "{", "not a JSON file"),
    ],
)
def test_bad_files_of_names(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*{said}"):
        read_names(str(tmp_path / name))


def coloured():
    return png_of(np.zeros((*CAT.shape, 3), np.uint8))


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ((CAT * 9).astype(np.uint8), r"have no name: \[9\]"),
        (coloured(), "colours do not name classes"),
        (b"no picture", "cannot be read"),
        (png_of((CAT * 1).astype(np.uint8))[:60], "cannot be read"),
        (None, "no image of its name"),
    ],
)
def test_a_bad_map_is_named_or_left_out(tmp_path, spoilt, said):
    root = label_maps(tmp_path)
    if spoilt is None:
        (tmp_path / "images" / "b.png").unlink()
    else:
        (tmp_path / "masks" / "b.png").write_bytes(png_of(spoilt) if isinstance(spoilt, np.ndarray) else spoilt)
    with pytest.raises(ValueError, match=rf"b\.png: record b: .*{said}"):
        LabelMapDataset(root)
    data = LabelMapDataset(root, on_bad_record="skip")
    assert len(data) == 2 and [finding.record for finding in data.findings] == ["b"]


def test_what_is_missing_is_said(tmp_path):
    root = label_maps(tmp_path)
    write_pictures(tmp_path / "images", "c.png")
    assert [finding.record for finding in LabelMapDataset(root).findings] == ["c"]
    with pytest.raises(FileNotFoundError, match="no folder"):
        LabelMapDataset(root, mask_dir="elsewhere")
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file of class names; one of classes\.txt"):
        LabelMapDataset(root)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_table_gives_phrases_with_their_masks(tmp_path, separator):
    records = records_of(CsvMaskDataset(masks_csv(tmp_path, separator)))
    assert [record.record_id for record in records] == ["0", "1"]
    for record, phrase, mask in zip(records, ("the cat", "the cup"), (CAT, CUP)):
        assert record.regions[0].phrase == phrase and np.array_equal(decoded(record.regions[0].segmentations), mask)
        assert record.image_path == str(tmp_path / "images" / "a.png")


def test_one_phrase_twice_is_united_and_quotes_hold_separators(tmp_path):
    masks_csv(tmp_path)
    lines = [["mask", "image", "text"], *([f"{name}.png", "a.png", "cat, or cup"] for name in ("cat", "cup"))]
    path = write_csv(tmp_path / "other.csv", lines)
    data = CsvMaskDataset(path, str(tmp_path / "images"), str(tmp_path / "masks"))
    (record,) = records_of(data)
    assert record.regions[0].phrase == "cat, or cup"
    assert np.array_equal(decoded(record.regions[0].segmentations), CAT | CUP)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["images/a.png", "masks/cat.png"], "another count of cells"),
        (["images/a.png", "masks/no.png", "a"], r"no mask: .*no\.png"),
        (["", "masks/cat.png", "a"], "cell of the image is blank"),
        (["images/a.png", "masks", "a"], "no mask"),
    ],
)
def test_a_bad_line_is_named_or_left_out(tmp_path, line, said):
    path = masks_csv(tmp_path)
    with open(path, "a", newline="") as file:
        file.write(",".join(line) + "\n")
    with pytest.raises(ValueError, match=rf"masks\.csv: record 2: .*{said}"):
        CsvMaskDataset(path)
    assert len(CsvMaskDataset(path, on_bad_record="skip")) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("image,phrase\na,b\n", r"no column for \['mask'\]"),
        ('image,mask,phrase\na,"b', "not a CSV"),
        ("image,mask,phrase\n", "no phrase with a mask"),
    ],
)
def test_files_that_are_no_such_table(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        CsvMaskDataset(str(tmp_path / "a.csv"))


def test_a_mask_that_cannot_be_read_is_named_when_its_record_is_made(tmp_path):
    path = masks_csv(tmp_path)
    (tmp_path / "masks" / "cup.png").write_bytes(b"no picture")
    data = CsvMaskDataset(path)
    with pytest.raises(ValueError, match=r"csv record 1: .*cup\.png"):
        data.get_record(1, None)
    json.dumps(data.get_record(0, None).regions[0].segmentations)
