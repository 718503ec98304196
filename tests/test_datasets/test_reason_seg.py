"""ReasonSeg's files against LISA's painting, restated."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from lira_plugin.datasets import ReasonSegDataset
from lira_plugin.structures import decode_union

SIZE = (40, 60)


def square(left, top, side):
    return [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]


def shape(label, points):
    return {"label": label, "shape_type": "polygon", "points": points, "flags": {}}


def write(folder, name, shapes, text=("the cup", "where to drink from"), is_sentence=False, encoding="utf-8", **exif):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / f"{name}.jpg", **exif)
    content = {"shapes": shapes, "text": list(text), "is_sentence": is_sentence}
    (folder / f"{name}.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))


def by_lisa(shapes, size=SIZE) -> np.ndarray:
    """0, 1 for the target and 255 for what is ignored."""
    areas = []
    for entry in shapes:
        canvas = np.zeros(size, np.uint8)
        points = np.array([entry["points"]], np.int32)
        cv2.fillPoly(cv2.polylines(canvas, points, True, 1, 1), points, 1)
        areas.append(int(canvas.sum()))
    mask = np.zeros(size, np.uint8)
    for index in sorted(range(len(shapes)), key=lambda index: areas[index])[::-1]:
        value = 255 if "ignore" in shapes[index]["label"].lower() else 1
        points = np.array([shapes[index]["points"]], np.int32)
        cv2.fillPoly(cv2.polylines(mask, points, True, value, 1), points, value)
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_targets_and_what_is_ignored_are_painted_as_lisa_does(tmp_path, seed):
    rng = np.random.default_rng(seed)
    shapes = []
    for label in rng.choice(["target", "ignore", "Ignored", "cup"], size=6):
        points = rng.uniform(-3, 60, (rng.integers(1, 6), 2)).tolist()
        shapes.append(shape(str(label), points))
    shapes.append(shape("target", square(3, 3, 9)))
    write(tmp_path / "val", "a", [*shapes, shape("flag", square(0, 0, 59))])
    record = ReasonSegDataset(str(tmp_path), "val").get_record(0, np.random.default_rng())
    target = decode_union(record.regions[0].segmentations, *SIZE)
    ignored = decode_union(record.regions[0].ignored, *SIZE)
    expected = by_lisa(shapes)
    assert np.array_equal(ignored, expected == 255)
    assert np.array_equal(target & ~ignored, expected == 1)
    training = ReasonSegDataset(str(tmp_path), "val", num_questions=1).get_record(0, rng)
    assert np.array_equal(decode_union(training.regions[0].segmentations, *SIZE), expected == 1)


def test_a_small_target_in_what_is_ignored_counts_and_a_small_hole_does_not(tmp_path):
    write(tmp_path / "val", "a", [shape("target", square(5, 5, 9)), shape("ignore", square(0, 0, 30))])
    write(tmp_path / "val", "b", [shape("ignore", square(5, 5, 9)), shape("target", square(0, 0, 30))])
    write(tmp_path / "val", "c", [shape("ignore", square(0, 0, 30))])
    data = ReasonSegDataset(str(tmp_path), "val")
    inner, hole, nothing = (data.get_record(index, None).regions[0] for index in range(3))
    assert not (decode_union(inner.segmentations, *SIZE) & decode_union(inner.ignored, *SIZE)).any()
    assert decode_union(hole.ignored, *SIZE).sum() == 100
    assert not nothing.has_target and inner.has_target
    assert len(ReasonSegDataset(str(tmp_path), "val", num_questions=1)) == 2


def test_of_equal_polygons_the_first_prevails(tmp_path):
    write(tmp_path / "val", "a", [shape("target", square(5, 5, 9)), shape("ignore", square(5, 5, 9))])
    write(tmp_path / "val", "b", [shape("ignore", square(5, 5, 9)), shape("target", square(5, 5, 9))])
    data = ReasonSegDataset(str(tmp_path), "val")
    assert [len(data.get_record(index, None).regions[0].ignored) for index in range(2)] == [0, 1]


def test_evaluation_asks_the_first_question_by_its_kind(tmp_path):
    target = [shape("target", square(5, 5, 9))]
    write(tmp_path / "val", "b", target, ["Where does one drink from?", "What holds tea?"], True)
    write(tmp_path / "val", "a", target, ["  the cup "])
    data = ReasonSegDataset(str(tmp_path), "val")
    records = [data.get_record(index, None) for index in range(len(data))]
    assert [(record.record_id, record.source) for record in records] == [
        ("a", "reasonseg/val/short"),
        ("b", "reasonseg/val/long"),
    ]
    assert [record.conversation.turns[0].question for record in records] == [
        "What is the cup in this image? Please output segmentation mask.",
        "Where does one drink from? Please output segmentation mask.",
    ]
    assert [len(ReasonSegDataset(str(tmp_path), "val", query=query)) for query in ("short", "long")] == [1, 1]
    assert data.image_paths == [str(tmp_path / "val" / f"{name}.jpg") for name in "ab"]
    assert data.protocols()["reasonseg/val"]["files"] == [str(tmp_path / "val" / f"{name}.json") for name in "ab"]


def test_training_draws_questions_and_each_names_the_region(tmp_path):
    write(tmp_path / "train", "a", [shape("target", square(5, 5, 9))], [f"thing {index}" for index in range(5)])
    data = ReasonSegDataset(str(tmp_path), "train", num_questions=3)
    record = data.get_record(0, np.random.default_rng(0))
    assert len({turn.question for turn in record.conversation.turns}) == len(record.regions) == 3
    for index, turn in enumerate(record.conversation.turns):
        [span] = turn.spans
        assert turn.answer[span.start : span.end] == "this" and span.region == index
    assert record.source == "reasonseg/train"
    asked = [turn.question for part in data.whole_records(0) for turn in part.conversation.turns]
    assert len(set(asked)) == 5 and [len(part.regions) for part in data.whole_records(0)] == [3, 2]


def test_pictures_are_upright_and_texts_of_windows_are_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "val", "a", [shape("target", square(5, 45, 9))], ["le café"], encoding="cp1252", exif=exif)
    record = ReasonSegDataset(str(tmp_path), "val").get_record(0, None)
    assert record.size == SIZE[::-1] and "le café" in record.conversation.turns[0].question
    assert decode_union(record.regions[0].segmentations, *SIZE[::-1]).sum() == 100
    assert ReasonSegDataset(str(tmp_path), "val", exif="ignore").get_record(0, None).size == SIZE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "must be an object"),
        ({"shapes": [], "text": ["a"]}, "lacks 'is_sentence'"),
        ({"shapes": [], "text": "a", "is_sentence": True}, "'text' must be a list: got 'a'"),
        ({"shapes": [], "text": [], "is_sentence": True}, "'text' must be a list"),
        ({"shapes": [], "text": [" "], "is_sentence": True}, "not blank"),
        ({"shapes": [], "text": ["a"], "is_sentence": 1}, "'is_sentence' must be true or false: got 1"),
        ({"shapes": {}, "text": ["a"], "is_sentence": True}, "'shapes' must be a list"),
        ({"shapes": [{"points": [[1, 2]]}], "text": ["a"], "is_sentence": True}, r"'shapes\[0\]' lacks 'label'"),
        ({"shapes": [shape("target", [])], "text": ["a"], "is_sentence": True}, r"shapes\[0\]\.points"),
        ({"shapes": [shape("target", [[1]])], "text": ["a"], "is_sentence": True}, r"shapes\[0\]\.points"),
        ({"shapes": [shape("x", [[1, float("nan")]])], "text": ["a"], "is_sentence": True}, "shape 0 .*nan"),
        ({"shapes": [shape("x", [[1, 1e30]])], "text": ["a"], "is_sentence": True}, "shape 0 .*1e"),
        (
            {"shapes": [shape("x", [[1, "2"]])], "text": ["a"], "is_sentence": True},
            r"points\[0\]\[1\]' must be a number",
        ),
        (None, "cannot be read"),
    ],
)
def test_bad_files_are_named_at_once_or_left_out(tmp_path, content, said):
    write(tmp_path / "val", "good", [shape("target", square(5, 5, 9))])
    for name in ("bad", "worse"):
        write(tmp_path / "val", name, [])
        (tmp_path / "val" / f"{name}.json").write_text("{" if content is None else json.dumps(content))
    with pytest.raises(ValueError, match=rf"bad\.json: record bad: .*{said}") as error:
        ReasonSegDataset(str(tmp_path), "val")
    assert "1 more cannot be used" in str(error.value) and "worse.json" in str(error.value)
    data = ReasonSegDataset(str(tmp_path), "val", on_bad_record="skip")
    assert len(data) == 1 and [finding.record for finding in data.findings] == ["bad", "worse"]


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        ReasonSegDataset(str(tmp_path), "val")
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match=r"no picture NAME\.jpg"):
        ReasonSegDataset(str(tmp_path), "val")
    (tmp_path / "val" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.json: record a: there is no JSON file beside the picture"):
        ReasonSegDataset(str(tmp_path), "val")
    write(tmp_path / "val", "a", [])
    (tmp_path / "val" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read"):
        ReasonSegDataset(str(tmp_path), "val").get_record(0, None)
    for settings, said in (({"query": "middle"}, "'middle'"), ({"num_questions": 0}, "got 0")):
        with pytest.raises(ValueError, match=said):
            ReasonSegDataset(str(tmp_path), "val", **settings)
