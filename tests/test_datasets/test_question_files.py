import base64
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from lira_plugin.datasets import ReferSegDataset
from lira_plugin.datasets.image_table import ImageTable
from lira_plugin.datasets.question_files import drawn_questions, read_questions
from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_questions import scene_questions
from lira_plugin.scenes.scene_records import CAPTION_REQUEST
from lira_plugin.structures import decode_union


def write(folder: Path, *entries) -> Path:
    Image.new("RGB", (8, 6)).save(folder / "a.png")
    path = folder / "questions.jsonl"
    path.write_text("\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries))
    return path


def test_lines_become_questions_with_paths_beside_the_file(tmp_path):
    path = write(tmp_path, {"image": "a.png", "question": "Was ist das für 猫?"}, "", {"image": str(tmp_path / "a.png"),
                 "question": "Please segment it.", "task": "RefSeg"})  # fmt: skip
    first, second = read_questions(path)
    assert (first.image, first.question, first.task) == (str(tmp_path / "a.png"), "Was ist das für 猫?", "")
    assert Path(second.image).is_file() and second.task == "RefSeg" and second.regions == ()


def test_a_line_ends_where_json_lines_end_and_a_mark_at_the_start_is_none(tmp_path):
    question = "one\u2028two\u0085three"
    path = write(tmp_path, json.dumps({"image": "a.png", "question": question}, ensure_ascii=False))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert [read.question for read in read_questions(path)] == [question]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("{", ValueError, "line 2"),
        ([1], ValueError, r"must be an object: got \[1\]"),
        ({"image": "a.png"}, ValueError, "lacks 'question'"),
        ({"image": "a.png", "question": "?", "tsak": "x"}, ValueError, "tsak"),
        ({"image": "a.png", "question": " "}, ValueError, "not blank"),
        ({"image": 3, "question": "?"}, ValueError, "'image' must be a text: got 3"),
        ({"image": "b.png", "question": "?"}, FileNotFoundError, "line 2.*b.png"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, error, message):
    path = write(tmp_path, {"image": "a.png", "question": "?"}, line)
    with pytest.raises(error, match=message) as caught:
        read_questions(path)
    assert "questions.jsonl, line 2" in str(caught.value)


def test_all_bad_lines_and_all_missing_images_are_named(tmp_path):
    path = write(tmp_path, "{", {"image": "b.png", "question": "?"}, {"image": "a.png", "question": None})
    with pytest.raises(ValueError, match=r"line 1: the record cannot be read") as error:
        read_questions(path)
    assert "questions.jsonl, line 3: 'question' must be a text" in str(error.value)
    path = write(tmp_path, {"image": "b.png", "question": "?"}, {"image": "c" * 300, "question": "?"})
    with pytest.raises(FileNotFoundError, match=r"line 1: .*b\.png\n.*line 2: .*ccc"):
        read_questions(path)


def test_an_empty_file_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="holds no question"):
        read_questions(write(tmp_path, ""))


def test_scenes_give_questions_of_every_task_about_val_images(tmp_path):
    files = write_scenes(tmp_path / "data", 2, 3, progress=False)
    questions = scene_questions(files, num_vqa=1, num_captions=2, num_refer=3, num_gcg=2)
    assert [item.task for item in questions] == [
        "VQA",
        "Caption",
        "Caption",
        "RefSeg",
        "RefSeg",
        "RefSeg",
        "GCG",
        "GCG",
    ]
    val = {image["file_name"] for image in json.loads(files.coco_val.read_text())["images"]}
    asked = json.loads(files.llava_train.read_text())
    patterns = {turn["value"].removeprefix("<image>\n").split()[0] for r in asked for turn in r["conversations"][::2]}
    for item in questions:
        assert Path(item.image).name in val and Path(item.image).is_file()
        assert bool(item.regions) == (item.task in ("RefSeg", "GCG"))
        with Image.open(item.image) as image:
            assert all(decode_union(region.segmentations, image.height, image.width).any() for region in item.regions)
    assert questions[0].question.split()[0] in patterns | {"What", "How", "Is"}
    assert questions[1].question == CAPTION_REQUEST
    for item in questions[3:6]:
        assert item.question == f"Please segment {item.regions[0].phrase}."
    assert scene_questions(files, seed=1) == scene_questions(files, seed=1) != scene_questions(files, seed=2)
    assert len(scene_questions(files, num_refer=50)) == 2 + 2 + 3 + 2, "one question an image and task at most"


def test_missing_scenes_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools/make_scenes\.py"):
        scene_questions(SceneFiles(tmp_path))


def test_questions_of_a_data_set_are_spread_over_its_images(tmp_path):
    files = write_scenes(tmp_path / "data", 2, 3, progress=False)
    refer = ReferSegDataset(str(files.root), "refcoco", "val", str(files.images))
    drawn = drawn_questions(refer, 3)
    assert len({item.image for item in drawn}) == 3, "one of every image first"
    assert drawn == drawn_questions(refer, 3) and {drawn_questions(refer, 1, seed)[0].image for seed in range(9)} != {
        drawn[0].image
    }
    every = drawn_questions(refer, 1000)
    assert len(every) == len(refer)
    assert all(item.regions and item.question == f"Please segment {item.regions[0].phrase}." for item in every)
    assert {item.task for item in every} == {"refcoco/val"}


def test_an_image_of_a_table_that_is_empty_is_written_again(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(f"index\timage\n0\t{base64.b64encode(b'a picture' * 20).decode()}\n")
    table = ImageTable(str(path))
    (cells,) = table
    table.write_image(cells)
    os.truncate(table.file_of(cells.image), 0)
    table.write_image(cells)
    with open(table.file_of(cells.image), "rb") as file:
        assert file.read() == b"a picture" * 20
