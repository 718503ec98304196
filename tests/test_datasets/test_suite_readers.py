"""The readers of MME, AI2D, ChartQA and of images to describe, on files in their official layouts, through the recipes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from support.official_files import write
from support.paths import config_path
from support.tiny_model import make_samples, refer_record

from lira_plugin.datasets import Ai2dDataset, ChartQADataset, CocoDescriptionDataset, MmeDataset
from lira_plugin.datasets.findings import BadRecords
from lira_plugin.evaluation.coco_objects import read_coco_objects
from lira_plugin.inference.with_and_without import draw_images
from lira_plugin.registry import DATASETS, METRICS
from lira_plugin.structures import GroundedText

SHORT = " Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."


def records(data):
    return [data.get_record(index, np.random.default_rng(0)) for index in range(len(data))]


def asked(record):
    (turn,) = record.conversation.turns
    return turn.question


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LIRA_DATA", str(tmp_path))
    (tmp_path / "suites").mkdir()
    return tmp_path / "suites"


def recipe(name):
    """What a recipe tests: its data set without the pipeline, which wants weights, and its metric."""
    config = Config.fromfile(config_path(name))
    (data,) = config.test_dataloader.dataset.datasets
    return config, DATASETS.build(data), METRICS.build(config.test_evaluator[0] | {"out_file": None, "dump": None})


def figures(data, metric, answers, folder):
    """The metric of answers to all records."""
    (sample,) = make_samples([refer_record(folder, "a", ["cat"], 40, 40)])
    samples = [
        replace(
            sample,
            index=index,
            source=record.source,
            record_id=record.record_id,
            truth=record.truth,
            question=asked(record),
        )
        for index, record in enumerate(records(data))
    ]
    metric.process({"data_samples": samples}, [GroundedText(text=answer) for answer in answers])
    return metric.evaluate(len(answers))


def mme_files(root, **changed):
    """Two categories; images of one name in both are two."""
    lines = {
        "existence": "a.jpg\tIs there a dog? Please say.\tYes\na.jpg\tIs there a cat? Please say.\tNo\n",
        "OCR": 'a.jpg\tIs it "ALPHA"?\tYes\r\na.jpg\tIs it "BETA"?\tNo\r\n\nb.png\tIs it 1?\tYes\nb.png\tIs it 2?\tNo',
    }
    for name, text in (lines | changed).items():
        path = root / "mme" / "Your_Results" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return str(root / "mme" / "Your_Results")


def test_mme(root):
    mme_files(root)
    config, data, metric = recipe("lira_2b_mme")
    first, *_, last = records(data)
    assert len(data) == 6 and {record.truth.category for record in records(data)} == {"existence", "OCR"}
    assert asked(first) == 'Is it "ALPHA"?' + SHORT and first.image_path == str(
        root / "mme" / "images" / "OCR" / "a.jpg"
    )
    assert asked(last) == "Is there a cat? Please say." + SHORT
    assert (last.truth.label, last.truth.group, last.record_id) == ("no", "a.jpg", "existence/a.jpg/1")
    said = figures(data, metric, ["Yes", "no", "Yes.", "Yes.", "no", "No"], root)
    assert said["mme/OCR/score"] == 100 * (3 / 4 + 1 / 2) and said["mme/existence/score"] == 100 * (1 / 2 + 0)
    assert said["mme/perception"] == 125 + 50
    tile = config.test_dataloader.dataset.pipeline.tile
    assert (tile.min_tiles, tile.max_tiles, config.model.generation.max_new_tokens) == (4, 12, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\tIs it?\n", "record 0 .*a line must be image, question, answer between tabs"),
        ("a.jpg\tIs it?\tmaybe\na.jpg\tIs it?\tno", "record 0 .*the answer must be 'Yes' or 'No'.*'maybe'"),
        ("a.jpg\tIs it?\tYes\na.jpg\tIs it not?\tNo\na.jpg\tOr?\tNo", "two questions about each image, not 3.*'a.jpg'"),
        ("a.jpg\t \tYes\na.jpg\tIs it?\tno", "record 0 .*the question is blank"),
        ("\tIs it?\tYes\n\tIs it so?\tno", "it names no image"),
    ],
)
def test_what_is_wrong_with_a_line_of_mme(root, text, message):
    folder = mme_files(root, count=text)
    with pytest.raises(BadRecords, match=f"(?s)count.txt: .*{message}"):
        MmeDataset(folder, "images")
    data = MmeDataset(folder, "images", on_bad_record="skip")
    assert data.findings and {"OCR", "existence"} <= {record.truth.category for record in records(data)}
    with pytest.raises(FileNotFoundError, match=r"no files of MME's questions in .*Your_Results of MME's eval_tool"):
        MmeDataset(str(root), "images")


def chart_files(root, **changed):
    people = [{"imgname": "41.png", "query": "How many bars?", "label": "14"}]
    made = [
        {"imgname": "41.png", "query": "How many bars?", "label": "14"},
        {"imgname": "166.png", "query": "Which year?", "label": "2018"} | changed,
    ]
    folder = root / "chartqa" / "test"
    return {
        "human": str(write(folder / "test_human.json", people)),
        "augmented": str(write(folder / "test_augmented.json", made)),
    }


def test_chartqa(root):
    chart_files(root)
    config, data, metric = recipe("lira_2b_chartqa")
    first, second, third = records(data)
    assert [record.record_id for record in records(data)] == ["human/0", "augmented/0", "augmented/1"]
    assert asked(first) == asked(second) == "How many bars?" + SHORT
    assert third.image_path == str(root / "chartqa" / "test" / "png" / "166.png")
    said = figures(data, metric, ["14.5", "15", "2018"], root)
    assert (said["chartqa/test/human/accuracy"], said["chartqa/test/augmented/accuracy"]) == (1, 1 / 2)
    assert config.model.generation.max_new_tokens == 100


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": ""}, "'label'"),
        ({"label": 14}, "'label' must be a text: got 14"),
        ({"query": " "}, "the question is blank"),
        ({"imgname": ""}, "'imgname'"),
    ],
)
def test_what_is_wrong_with_a_question_about_a_chart(root, changed, message):
    files = chart_files(root, **changed)
    with pytest.raises(BadRecords, match=f"(?s)test_augmented.json: record 1.*{message}"):
        ChartQADataset(files, "png")
    assert len(ChartQADataset(files, "png", on_bad_record="skip")) == 2
    with pytest.raises(ValueError, match="ann_files is empty"):
        ChartQADataset({}, "png")


def diagram_files(root, **changed):
    """Three diagrams, of which two are for testing; the second has a question about letters in its place."""
    folder = root / "ai2d"

    def question(diagram, index, letters=False, **more):
        entry = {"abcLabel": letters, "answerTexts": ["1", "2", "3", "A" if letters else "4"], "correctAnswer": 3}
        return entry | {"questionId": f"{diagram}.png-{index}"} | more

    for diagram, questions in {
        "0": {"How many suns are there?": question("0", 0)},
        "12": {"What is it?": question("12", 0), "Which is the sun?": question("12", 1, letters=True, **changed)},
        "7": {"Is it of training?": question("7", 0)},
    }.items():
        write(folder / "questions" / f"{diagram}.png.json", {"imageName": f"{diagram}.png", "questions": questions})
    (folder / "ai2d_test_ids.csv").write_text("12\n0\n")
    return str(folder / "questions"), str(folder / "ai2d_test_ids.csv")


def test_ai2d(root):
    diagram_files(root)
    config, data, metric = recipe("lira_2b_ai2d")
    first, second, third = records(data)
    assert [record.record_id for record in (first, second, third)] == ["12.png-0", "12.png-1", "0.png-0"]
    assert asked(third) == f"How many suns are there?\nA. 1\nB. 2\nC. 3\nD. 4\n{LETTER}"
    assert third.image_path == str(root / "ai2d" / "images" / "0.png")
    assert second.image_path == str(root / "ai2d" / "abc_images" / "12.png")
    assert figures(data, metric, ["D", "d", "4"], root)["ai2d/test/accuracy"] == 2 / 3
    assert config.model.generation.max_new_tokens == 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"correctAnswer": 4}, "the answer is none of the choices, which count from 0 to 3: 4"),
        ({"answerTexts": []}, "the answer is none of the choices|there is none"),
        ({"abcLabel": "yes"}, "'abcLabel' must be"),
        ({"questionId": "12.png-0"}, "its id occurs twice"),
    ],
)
def test_what_is_wrong_with_a_question_about_a_diagram(root, changed, message):
    folder, ids = diagram_files(root, **changed)
    with pytest.raises(BadRecords, match=f"(?s)12.png: Which is the sun.*{message}"):
        Ai2dDataset(folder, ids, "images", "abc_images")
    data = Ai2dDataset(folder, ids, "images", "abc_images", on_bad_record="skip")
    assert [record.record_id for record in records(data)] == ["12.png-0", "0.png-0"]


def test_a_diagram_without_questions_or_without_a_file(root):
    folder, ids = diagram_files(root)
    write(Path(folder) / "0.png.json", [])
    with pytest.raises(BadRecords, match=r"0\.png.*must hold an object 'questions'"):
        Ai2dDataset(folder, ids, "images", "abc_images")
    (Path(folder) / "0.png.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"0\.png\.json"):
        Ai2dDataset(folder, ids, "images", "abc_images")


def coco_file(root, count=9, **changed):
    images = [
        {"id": 40 + n, "file_name": f"COCO_val2014_{40 + n:012}.jpg", "width": 64, "height": 48} for n in range(count)
    ]
    images[1] |= changed
    annotations = [{"id": 1, "image_id": 40 + n, "category_id": 18} for n in range(count)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 18, "name": "dog"}]}
    return str(write(root / "coco" / "annotations" / "instances_val2014.json", content))


def test_descriptions_are_asked_of_the_images_that_the_tool_draws(root):
    path = coco_file(root)
    data = CocoDescriptionDataset(path, "val2014", count=4, seed=3)
    truth = read_coco_objects(path)
    for name in truth.file_names.values():
        (root / name).write_bytes(b"")
    drawn = draw_images(truth, root, 4, seed=3)
    assert [record.record_id for record in records(data)] == list(drawn)
    assert data.protocol["count"] == 4 and data.protocol["seed"] == 3
    whole = records(CocoDescriptionDataset(path, "val2014"))
    assert [record.record_id for record in whole] == [str(40 + n) for n in range(9)]
    assert whole[0].image_path == "val2014/COCO_val2014_000000000040.jpg"
    assert asked(whole[0]) == "Provide an in-depth description of this image."


def test_the_recipe_of_chair(root):
    coco_file(root)
    config, data, metric = recipe("lira_2b_chair")
    assert len(data) == 9 and config.test_dataloader.dataset.datasets[0].count == 500
    said = figures(data, metric, ["A dog.", "A dog and a cat."] + ["A dog."] * 7, root)
    assert said["coco/descriptions/CHAIRs"] == 1 / 9 and said["coco/descriptions/CHAIRi"] == 1 / 10
    tile = config.test_dataloader.dataset.pipeline.tile
    assert (tile.min_tiles, tile.max_tiles, config.model.generation.max_new_tokens) == (1, 6, 512)
    assert config.model.generation.get("ilvc", True)


def test_what_is_wrong_with_an_image_to_describe(root):
    path = coco_file(root, file_name=7)
    with pytest.raises(BadRecords, match="record 41.*'file_name' must be a text: got 7"):
        CocoDescriptionDataset(path, "val2014")
    assert len(CocoDescriptionDataset(path, "val2014", on_bad_record="skip")) == 8
    with pytest.raises(ValueError, match="count must be positive"):
        CocoDescriptionDataset(path, "val2014", count=0)
    Path(path).write_text(json.dumps([]))
    with pytest.raises(ValueError, match="is no COCO file: it must hold a list 'images'"):
        CocoDescriptionDataset(path, "val2014")
