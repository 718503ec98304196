"""The readers of evaluation suites on files in their official layouts, with the traps of each."""

import base64
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from support.official_files import gqa_question, people, write
from support.suite_files import (
    lines_file,
    mmbench_entry,
    mmbench_file,
    picture,
    pope_files,
    scienceqa_files,
    turned_entries,
    vqa_files,
)

from lira_plugin.datasets import (
    ChoiceTableDataset,
    GqaDataset,
    PopeDataset,
    QuestionLinesDataset,
    ScienceQADataset,
    TextVqaDataset,
    VizWizDataset,
    VqaDataset,
)
from lira_plugin.datasets.findings import BadRecords

SHORT = " Answer the question using a single word or phrase."
RNG = np.random.default_rng(0)


def records(data):
    return [data.get_record(index, RNG) for index in range(len(data))]


def asked(record):
    (turn,) = record.conversation.turns
    return turn.question


def edit(path, change):
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


def test_vqa(tmp_path):
    data = VqaDataset(*vqa_files(tmp_path), "coco/val2014", source="vqav2/val")
    first, second = records(data)
    assert (first.source, first.record_id) == ("vqav2/val", "262148000")
    assert first.image_path == second.image_path == "coco/val2014/COCO_val2014_000000262148.jpg"
    assert asked(first) == "Where is he looking?" + SHORT
    assert first.truth.answers == (*["down"] * 7, "at table", "skateboard", "down")
    assert first.conversation.turns[0].answer == "down"
    assert data.protocol["prompt"] == "{question}" + SHORT and len(data.protocol["files"]) == 2


def test_vqa_asks_the_first_questions_of_the_file(tmp_path):
    data = VqaDataset(*vqa_files(tmp_path), "images", first=1)
    assert [record.record_id for record in records(data)] == ["262148000"] and data.protocol["first"] == 1
    with pytest.raises(ValueError, match="first must be positive"):
        VqaDataset(*vqa_files(tmp_path), "images", first=0)


def test_vqa_test_dev_has_the_images_of_test(tmp_path):
    data = VqaDataset(*vqa_files(tmp_path, "test-dev2015"), "images")
    assert records(data)[0].image_path == "images/COCO_test2015_000000262148.jpg"
    named = VqaDataset(*vqa_files(tmp_path, "test-dev2015"), "images", image_name="{image_id}.png")
    assert records(named)[0].image_path == "images/262148.png"


def test_vqa_files_of_two_splits(tmp_path):
    questions, annotations = vqa_files(tmp_path)
    edit(annotations, lambda content: content.update(data_subtype="train2014"))
    with pytest.raises(ValueError, match="is of 'val2014' and .*annotations.json of 'train2014'"):
        VqaDataset(questions, annotations, "images")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda notes: notes.pop(0), "it has no annotation in .*question 262148000"),
        (lambda notes: notes[0].update(image_id=3), "about another image.*262148 here, 3 there"),
        (lambda notes: notes[0].update(answers=[]), "it has no answers"),
        (lambda notes: notes[0].update(answers=[{"answer": 3}]), "'answers.0..answer' must be a text: got 3"),
        (lambda notes: notes.append(notes[0]), "two annotations: 262148000"),
        (lambda notes: notes[0]["answers"][0].update(answer="\ud800"), "half of a surrogate pair"),
    ],
)
def test_vqa_names_what_an_annotation_lacks(tmp_path, change, message):
    questions, annotations = vqa_files(tmp_path)
    edit(annotations, lambda content: change(content["annotations"]))
    with pytest.raises(BadRecords, match=f"(?s)questions.json: record 262148000.*{message}"):
        VqaDataset(questions, annotations, "images")
    data = VqaDataset(questions, annotations, "images", on_bad_record="skip")
    assert [record.record_id for record in records(data)] == ["262148001"] and len(data.findings) == 1


def test_faults_have_kinds(tmp_path):
    """As all readers' have, for the check of data to count them."""
    questions, annotations = vqa_files(tmp_path)
    edit(annotations, lambda content: content["annotations"].pop(0))
    edit(questions, lambda content: content["questions"].append(content["questions"][1]))
    edit(
        questions,
        lambda content: content["questions"].append(content["questions"][1] | {"question": "", "question_id": 0}),
    )
    edit(annotations, lambda content: content["annotations"].append(content["annotations"][0] | {"question_id": 0}))
    data = VqaDataset(questions, annotations, "images", on_bad_record="skip")
    assert [finding.kind.value for finding in data.findings] == ["unknown_id", "duplicate_id", "empty_text"]


def test_a_question_with_the_placeholder_of_an_image(tmp_path):
    with pytest.raises(BadRecords, match="the question holds '<image>'"):
        VqaDataset(*vqa_files(tmp_path, question="Is <image> red?"), "images")


def test_vizwiz_unanswerable(tmp_path):
    """People's own words for "unanswerable" stay answers; the true one is the word that the prompt asks for."""
    answers = people(*["unsuitable"] * 6, "unanswerable", "unsuitable image", "soda", "soda")
    entries = [
        {"image": f"VizWiz_val_0000000{n}.jpg", "question": "What is it?", "answers": answers, "answerable": n}
        for n in (0, 1)
    ]
    data = VizWizDataset(str(write(tmp_path / "val.json", entries)), "val")
    first, second = records(data)
    assert asked(first) == (
        "What is it? When the provided information is insufficient, respond with 'unanswerable'." + SHORT
    )
    assert first.truth == second.truth and first.truth.answers.count("unsuitable") == 6
    assert [record.conversation.turns[0].answer for record in (first, second)] == ["unanswerable", "unsuitable"]
    assert (first.record_id, first.image_path) == ("VizWiz_val_00000000", "val/VizWiz_val_00000000.jpg")


def test_textvqa(tmp_path):
    entry = {
        "question_id": 34602,
        "image_id": "003a8ae2ef43b901",
        "question": "what is it?",
        "answers": ["dakota"] * 10,
    }
    content = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": [entry]}
    (record,) = records(TextVqaDataset(str(write(tmp_path / "val.json", content)), "train_images"))
    assert (record.record_id, record.image_path) == ("34602", "train_images/003a8ae2ef43b901.jpg")
    assert record.truth.answers == ("dakota",) * 10


def test_gqa_balanced(tmp_path):
    """The file of all questions holds balanced ones and others, which do not count."""
    content = {str(n): gqa_question(f"n{n}", balanced=n != 1) for n in range(3)}
    data = GqaDataset(str(write(tmp_path / "all.json", content)), "images")
    assert [record.record_id for record in records(data)] == ["0", "2"] and not data.findings
    first = records(data)[0]
    assert (first.image_path, first.truth.label, asked(first)) == ("images/n0.jpg", "yes", "Is the sky dark?" + SHORT)


def test_gqa_without_a_balanced_question(tmp_path):
    with pytest.raises(ValueError, match="holds no question that can be used"):
        GqaDataset(str(write(tmp_path / "all.json", {"1": gqa_question("n", balanced=False)})), "images")


def test_pope_categories(tmp_path):
    """Each file counts its questions from 1, so that ids alone would meet."""
    data = PopeDataset(pope_files(tmp_path), "val2014")
    found = [(record.record_id, record.truth.category, record.truth.label) for record in records(data)]
    assert found == [
        (f"{category}/{n}", category, label)
        for category in ("random", "popular", "adversarial")
        for n, label in ((1, "yes"), (2, "no"))
    ]
    assert asked(records(data)[1]) == "Is there a dining table in the image?"
    with pytest.raises(ValueError, match="ann_files is empty"):
        PopeDataset({}, "val2014")


def test_pope_label_that_is_neither(tmp_path):
    line = {"question_id": 1, "image": "a.jpg", "text": "Is there a dog?", "label": "maybe"}
    with pytest.raises(BadRecords, match="pope.json: record 1 .*'label' must be 'yes' or 'no': got 'maybe'"):
        PopeDataset({"random": lines_file(tmp_path / "pope.json", [line])}, "images")


def test_scienceqa_images_and_text_only(tmp_path):
    files = scienceqa_files(tmp_path)
    with_images = records(ScienceQADataset(*files, "images/test"))
    assert [(record.record_id, record.image_path) for record in with_images] == [
        ("5", "images/test/5/image.png"),
        ("12", "images/test/12/choice.png"),
    ]
    assert asked(with_images[0]) == (
        "Look at the map.\nWhich is north?\nA. Ohio\nB. Texas\nAnswer with the option's letter from the given choices directly."
    )
    all_of_them = records(ScienceQADataset(*files, "images/test", images_only=False))
    assert [(record.image_path is None, record.truth.category, record.truth.label) for record in all_of_them] == [
        (False, "image", "A"),
        (True, "text", "B"),
        (False, "image", "A"),
    ]


def test_scienceqa_by_the_words_of_a_choice(tmp_path):
    record = records(ScienceQADataset(*scienceqa_files(tmp_path), "images", ask_as="question"))[0]
    assert (asked(record), record.conversation.turns[0].answer, record.truth.label) == ("Which is north?", "Ohio", "A")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda problems: problems.pop("12"), "has no such problem: the id '12' of the split 'test'"),
        (lambda problems: problems["12"].update(answer=2), "none of the choices, which count from 0 to 1: 2"),
        (lambda problems: problems["12"].update(answer=-1), "none of the choices"),
        (lambda problems: problems["12"].update(choices=[]), "none of the choices"),
        (lambda problems: problems["12"].update(choices=["a", " "]), "a choice is blank"),
        (lambda problems: problems["12"].update(choices=["a"] * 27), "more choices than letters: got 27"),
    ],
)
def test_scienceqa_problems_that_cannot_be_asked(tmp_path, change, message):
    problems, splits = scienceqa_files(tmp_path)
    edit(problems, change)
    with pytest.raises(BadRecords, match=f"(?s)record 12 .*{message}"):
        ScienceQADataset(problems, splits, "images")


def test_scienceqa_without_the_split(tmp_path):
    with pytest.raises(ValueError, match=r"no split 'tests', but \['test', 'train'\]"):
        ScienceQADataset(*scienceqa_files(tmp_path), "images", split="tests")


def test_mmbench_turned_questions_are_one_group_and_share_their_image(tmp_path):
    data = ChoiceTableDataset(mmbench_file(tmp_path / "dev.tsv", turned_entries()))
    found = records(data)
    assert [(r.record_id, r.truth.group, r.truth.label) for r in found] == [
        ("0", "0", "B"),
        ("1000000", "0", "A"),
        ("1", "1", "B"),
        ("1000001", "1", "A"),
    ]
    assert [record.truth.choices for record in found[:2]] == [("cat", "dog"), ("dog", "cat")]
    assert found[0].image_path == found[1].image_path != found[2].image_path
    assert [Path(found[index].image_path).read_bytes() for index in (0, 2)] == [picture(0), picture(1)]
    assert asked(found[0]).startswith("What is it?\nLook closely.\nA. cat\nB. dog\nAnswer with")


def test_an_image_is_written_when_its_record_is_read(tmp_path):
    data = ChoiceTableDataset(mmbench_file(tmp_path / "dev.tsv", turned_entries()), image_cache=str(tmp_path / "cache"))
    assert len(set(data.image_paths)) == 2 and not (tmp_path / "cache").exists()
    data.get_record(3, RNG)
    assert [path.name for path in (tmp_path / "cache" / "dev.images").iterdir()] == [Path(data.image_paths[3]).name]
    assert data.image_paths[3].endswith(".jpg")


def test_a_table_is_streamed(tmp_path):
    """Memory does not grow with the images of a table."""
    image = base64.b64encode(np.random.default_rng(0).bytes(600_000)).decode()
    entries = [mmbench_entry(index, f"iVBOR{index:03d}{image}") for index in range(30)]
    path = mmbench_file(tmp_path / "dev.tsv", entries)
    del entries
    tracemalloc.start()
    data = ChoiceTableDataset(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == 30 and Path(path).stat().st_size > 24e6
    assert peak < 9e6


def test_an_image_that_another_record_holds(tmp_path):
    entries = [*turned_entries(1)[:1], mmbench_entry(7, "0", split="test")]
    path = mmbench_file(tmp_path / "dev.tsv", entries)
    (record,) = records(ChoiceTableDataset(path, split="test"))
    assert record.record_id == "7" and Path(record.image_path).read_bytes() == picture(0)


def test_a_test_split_without_answers(tmp_path):
    columns = ["index", "question", "A", "B", "C", "D", "category", "image"]
    path = mmbench_file(tmp_path / "test.tsv", turned_entries(1), columns)
    assert [(record.truth.label, record.truth.is_known) for record in records(ChoiceTableDataset(path))] == [
        ("", False)
    ] * 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (mmbench_entry(3, ""), "it has no image"),
        (mmbench_entry(3, "99"), "not before it: index '99'"),
        (mmbench_entry(3, "0", answer="AB"), "an index or a letter: 'AB'"),
        (mmbench_entry(3, "0", answer="C"), "none of the choices"),
        (mmbench_entry(3, "0", choices=("", "", "", "")), "none of the choices"),
        (mmbench_entry(3, "0", choices=("a", "", "c", "")), "a choice is blank"),
        (mmbench_entry(0, "0"), "its id occurs twice"),
        (mmbench_entry("three", "0"), "'index' must be a whole number of up to 18 digits: got 'three'"),
        (mmbench_entry("9" * 5000, "0"), "'index' must be a whole number of up to 18 digits"),
        (mmbench_entry(3, "['/9j/', '/9j/']"), "a list of images"),
        (mmbench_entry(3, "0", category="\udcff"), "half of a surrogate pair|the category"),
        (mmbench_entry(3, "0") | {"question": " "}, "the question is blank"),
    ],
)
def test_records_of_a_table_that_cannot_be_asked(tmp_path, entry, message):
    path = mmbench_file(tmp_path / "dev.tsv", [*turned_entries(1), entry])
    with pytest.raises(BadRecords, match=f"(?s)dev.tsv: record .* .position 2.*{message}"):
        ChoiceTableDataset(path)
    assert len(ChoiceTableDataset(path, on_bad_record="skip")) == 2


def test_a_record_of_a_table_that_is_cut_off(tmp_path):
    path = Path(mmbench_file(tmp_path / "dev.tsv", turned_entries(1)))
    path.write_text(path.read_text() + "3\tWhat?")
    with pytest.raises(BadRecords, match="it must have 11 cells: got 2"):
        ChoiceTableDataset(str(path))


def test_an_image_that_is_no_base64(tmp_path):
    path = mmbench_file(tmp_path / "dev.tsv", [mmbench_entry(0, "?" * 200)])
    with pytest.raises(ValueError, match="dev.tsv: the image at byte .* is not base64"):
        records(ChoiceTableDataset(path))
    assert not list((tmp_path / "dev.images").glob("*"))


def test_base64_as_web_pages_and_mails_write_it(tmp_path):
    text = base64.b64encode(picture(0)).decode()
    images = [f"data:image/jpeg;base64,{text}", f"{text[:76]}\n{text[76:]}"]
    path = mmbench_file(tmp_path / "dev.tsv", [mmbench_entry(index, image) for index, image in enumerate(images)])
    for record in records(ChoiceTableDataset(path)):
        assert Path(record.image_path).read_bytes() == picture(0) and record.image_path.endswith(".jpg")


def test_a_table_with_a_byte_order_mark_or_a_column_twice(tmp_path):
    path = Path(mmbench_file(tmp_path / "dev.tsv", turned_entries(1)))
    content = path.read_text()
    path.write_text(content, encoding="utf-8-sig")
    assert [Path(record.image_path).read_bytes() for record in records(ChoiceTableDataset(str(path)))] == [
        picture(0)
    ] * 2
    path.write_text(content.replace("hint", "question", 1))
    with pytest.raises(ValueError, match=r"several columns \['question'\]"):
        ChoiceTableDataset(str(path))


def test_a_table_that_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "dev.tsv")
    with pytest.raises(ValueError, match="no regular file"):
        ChoiceTableDataset(str(tmp_path / "dev.tsv"))


def test_a_table_of_other_columns(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("id\tquestion\n1\tWhat?\n")
    with pytest.raises(ValueError, match=r"lacks \['index', 'image'\], its columns are \['id', 'question'\]"):
        ChoiceTableDataset(str(path))


def test_lines_of_internvl(tmp_path):
    lines = [
        {"image": "data/a.jpg", "question": "Where?", "question_id": 7, "answer": "net"},
        {"image": "data/a.jpg", "question": "Which?", "choices": ["x", "y"], "answer": 1, "hint": "Look."},
        {"image": "data/a.jpg", "question": "Which?", "choices": ["x", "y"], "answer": "A", "question_id": 9},
        {"question": "Why?", "question_id": 10},
    ]
    found = records(QuestionLinesDataset(lines_file(tmp_path / "a.jsonl", lines), "root"))
    assert [record.record_id for record in found] == ["7", "1", "9", "10"]
    assert [record.truth.label for record in found] == ["net", "B", "A", ""]
    assert [asked(record)[:13] for record in found[:2]] == ["Where? Answer", "Look.\nWhich?\n"]
    assert (found[0].image_path, found[3].image_path) == ("root/data/a.jpg", None)


def test_lines_of_internvl_with_the_answers_of_ten_people(tmp_path):
    _, annotations = vqa_files(tmp_path)
    lines = [{"image": "a.jpg", "question": "Where?", "question_id": 262148000, "answer": "up"}]
    path = lines_file(tmp_path / "a.jsonl", lines)
    (record,) = records(QuestionLinesDataset(path, "root", annotations, prompt="unanswerable"))
    assert record.truth.answers.count("down") == 8 and record.conversation.turns[0].answer == "down"
    lines_file(tmp_path / "a.jsonl", [*lines, {"image": "a.jpg", "question": "Where?", "question_id": 1}])
    with pytest.raises(BadRecords, match="record 1 .*no annotation in .*annotations.json"):
        QuestionLinesDataset(path, "root", annotations)


def test_a_prompt_of_ones_own(tmp_path):
    data = VqaDataset(*vqa_files(tmp_path), "images", prompt="{question}\nOne word.")
    assert asked(records(data)[0]) == "Where is he looking?\nOne word."
    for wrong in ("brief", "{question} {question}"):
        with pytest.raises(ValueError, match="prompt must be one of"):
            VqaDataset(*vqa_files(tmp_path), "images", prompt=wrong)
