"""The suites about scenes: true of their scenes, and in the layouts that the readers take."""

import base64
import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from lira_plugin.datasets import ChoiceTableDataset, GqaDataset, PopeDataset, ScienceQADataset, VqaDataset
from lira_plugin.evaluation.object_questions import ABSENT_KINDS
from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_suites import pope_lines


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> SceneFiles:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "data", 1, 12, progress=False)


@pytest.fixture(scope="module")
def objects(files) -> dict[str, list[list[str]]]:
    """Size, colour and shape of the objects of each image, from the COCO file."""
    content = json.loads(files.coco_val.read_text())
    names = {category["id"]: category["name"].split() for category in content["categories"]}
    images = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[list[str]]] = {name: [] for name in images.values()}
    for instance in content["annotations"]:
        found[images[instance["image_id"]]].append(names[instance["category_id"]])
    return found


def truth(question: str, things: list[list[str]]) -> str:
    """The answer, from the words of the question alone."""
    if question.startswith("Is there"):
        colour, shape = question.rstrip("?").split()[-2:]
        return "yes" if any(thing[1:] == [colour, shape] for thing in things) else "no"
    if question.startswith("How many"):
        asked = question.removeprefix("How many ").removesuffix(" are there?").removesuffix(" objects")
        return str(sum(asked == colour or asked.startswith(shape) for _, colour, shape in things))
    words = set(question.rstrip("?").split()[4:])
    (thing,) = [thing for thing in things if words <= set(thing)]
    return thing[1]


def test_answers_are_true_of_the_scenes(files, objects):
    questions = json.loads((files.suites / "vqav2/questions.json").read_text())["questions"]
    answers = json.loads((files.suites / "vqav2/annotations.json").read_text())["annotations"]
    names = {int(name[-16:-4]): name for name in objects}
    assert len(questions) == len(answers) == 36
    for question, answer in zip(questions, answers):
        right = truth(question["question"], objects[names[question["image_id"]]])
        given = Counter(each["answer"] for each in answer["answers"])
        assert answer["multiple_choice_answer"] == right == given.most_common(1)[0][0]
        assert answer["question_id"] == question["question_id"] and given.total() == 10
    content = json.loads((files.suites / "gqa/questions.json").read_text())
    assert {entry["isBalanced"] for entry in content.values()} == {True, False}
    for entry in content.values():
        assert entry["answer"] == truth(entry["question"], objects[f"{entry['imageId']}.jpg"])


def test_pope_asks_as_often_for_what_is_there_as_for_what_is_not(files, objects):
    for category in ABSENT_KINDS:
        lines = [
            json.loads(line) for line in (files.suites / f"pope/coco_pope_{category}.json").read_text().splitlines()
        ]
        assert [line["label"] for line in lines] == ["yes", "no"] * (len(lines) // 2)
        assert [line["question_id"] for line in lines] == list(range(1, len(lines) + 1))
        for line in lines:
            assert line["label"] == truth(line["text"], objects[line["image"]])
        asked = Counter((line["image"], line["text"]) for line in lines)
        assert max(asked.values()) == 1, "nothing is asked twice about an image"


def test_pope_draws_as_pope_does():
    """By hand: red circles are the most frequent, and a blue square is seen with a green star twice."""
    shown = [
        ("a", ("red circle",)),
        ("b", ("red circle", "red ring")),
        ("c", ("red circle", "red ring")),
        ("d", ("blue square", "green star")),
        ("e", ("blue square", "green star")),
        ("f", ("blue square",)),
    ]
    absent = {
        category: [
            line["text"] for line in pope_lines(shown, category) if (line["image"], line["label"]) == ("f", "no")
        ]
        for category in ABSENT_KINDS
    }
    assert absent["popular"] == ["Is there a red circle?"]
    assert absent["adversarial"] == ["Is there a green star?"]
    assert absent["random"] != ["Is there a blue square?"]


def test_mmbench_turns_its_choices(files, objects):
    with open(files.suites / "mmbench/mmbench_dev.tsv", encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file, delimiter="\t"))
    groups: dict[int, list[dict]] = {}
    for entry in entries:
        groups.setdefault(int(entry["index"]) % 1_000_000, []).append(entry)
    pictures = {(files.images / name).read_bytes(): name for name in objects}
    for own in groups.values():
        choices = [[entry[letter] for letter in "ABCD" if entry[letter]] for entry in own]
        assert len(own) == len(choices[0]) == len({tuple(each) for each in choices})
        right = truth(own[0]["question"], objects[pictures[base64.b64decode(own[0]["image"])]])
        assert {entry[entry["answer"]] for entry in own} == {right}


def test_the_readers_take_them(files):
    suites = files.suites
    vqa = VqaDataset(str(suites / "vqav2/questions.json"), str(suites / "vqav2/annotations.json"), str(files.images))
    gqa = GqaDataset(str(suites / "gqa/questions.json"), str(files.images))
    pope = PopeDataset({name: str(suites / f"pope/coco_pope_{name}.json") for name in ABSENT_KINDS}, str(files.images))
    problems, splits = suites / "scienceqa/problems.json", suites / "scienceqa/pid_splits.json"
    science = ScienceQADataset(str(problems), str(splits), str(suites / "scienceqa/images/test"), images_only=False)
    table = ChoiceTableDataset(str(suites / "mmbench/mmbench_dev.tsv"))
    assert len(gqa) == 24 and {record.truth.category for record in science.records} == {"image", "text"}
    for data in (vqa, gqa, pope, science, table):
        records = [data.get_record(index, None) for index in range(len(data))]
        paths = {record.image_path for record in records if record.image_path}
        assert paths and all(Path(path).read_bytes()[:2] == b"\xff\xd8" for path in paths)
        assert all(record.truth.is_known for record in records)


def test_scenes_without_a_picture_of_a_suite_are_written_anew(tmp_path):
    files = write_scenes(tmp_path / "data", 1, 2, progress=False)
    (picture, *_) = files.suites.glob("scienceqa/images/test/*/image.jpg")
    picture.unlink()
    write_scenes(tmp_path / "data", 1, 2, progress=False)
    assert picture.is_file()
