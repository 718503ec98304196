"""Each question set from the files that its owners publish to LLaVA records, with the traps of each."""

import json
import re

import pytest
from support import official_files
from support.official_files import (
    NAMES,
    dvqa_question,
    gqa_question,
    image,
    people,
    write,
    write_question_sets,
    write_vqa,
    write_vqav2,
)

from lira_plugin.prepare.official_entries import ConversionNotes
from lira_plugin.prepare.official_sets import QUESTION_SETS, MissingFiles
from lira_plugin.prepare.ten_answers import majority
from lira_plugin.structures.question_prompts import choice_letter, choice_question

SETS = {known.name: known for known in QUESTION_SETS}
SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."


def convert(root, name):
    """The records of a set, and what was noted."""
    notes = ConversionNotes()
    return list(SETS[name].convert(SETS[name].find(root), notes)), notes


def texts(record):
    return [message["value"] for message in record["conversations"]]


@pytest.fixture
def root(tmp_path, request):
    """The official files of the set that the test is named after."""
    name = request.node.name.removeprefix("test_").split("__")[0]
    getattr(official_files, f"write_{name}")(tmp_path)
    return tmp_path


def test_every_set_of_the_supplements_table_is_known():
    assert sorted(SETS) == sorted(NAMES)
    assert sum(known.wanted for known in QUESTION_SETS) == 411_000


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_a_llava_record_whose_image_is_there(tmp_path, name):
    from lira_plugin.datasets import LlavaDataset

    write_question_sets(tmp_path)
    records, notes = convert(tmp_path, name)
    assert records and not notes.bad
    data = LlavaDataset(str(write(tmp_path / "all.json", records)), str(tmp_path), [lambda results: results])
    for record, index in zip(records, range(len(data)), strict=True):
        read = data[index]["record"]
        assert all(turn.question and turn.answer for turn in read.conversation.turns)
        assert read.image_path == (f"{tmp_path}/{record['image']}" if "image" in record else None)
        assert "image" not in record or (tmp_path / record["image"]).is_file()
    assert "image" in records[0]


def test_vqav2__takes_the_answer_that_its_file_calls_the_most_frequent(root):
    records, notes = convert(root, "vqav2")
    assert notes.counts["questions"] == 3
    assert records[0] == {
        "id": "4580000",
        "image": "coco/train2014/COCO_train2014_000000000458.jpg",
        "conversations": [
            {"from": "human", "value": f"<image>\nWhat is this photo taken looking through? {SHORT}"},
            {"from": "gpt", "value": "net"},
        ],
    }


def test_vqav2__of_the_validation_is_refused(tmp_path):
    write_vqav2(tmp_path, subtype="val2014")
    with pytest.raises(
        ValueError, match=r"annotations\.json is not of the training split: 'data_subtype' is 'val2014'"
    ):
        convert(tmp_path, "vqav2")


def test_vqav2__a_bad_annotation_is_named_and_so_is_its_question(root):
    path = "vqav2/v2_mscoco_train2014_annotations.json"
    change(root, path, lambda content: content["annotations"][1]["answers"][9].update(answer=["net"]))
    records, notes = convert(root, "vqav2")
    assert [record["id"] for record in records] == ["4580000", "4580002"]
    annotation, question = notes.bad
    assert "annotation 1: 'answers[9].answer' must be a text: got ['net']" in annotation
    assert "question 4580001 has no sound annotation" in question


def test_vqav2__questions_and_annotations_belong_together(tmp_path):
    entry = {"question_id": 7, "image_id": 1, "question": "Why?", "multiple_choice_answer": "x", "answers": people("x")}
    files = ("vqav2/v2_OpenEnded_mscoco_train2014_questions.json", "vqav2/v2_mscoco_train2014_annotations.json")
    image(tmp_path / "coco/train2014/COCO_train2014_000000000001.jpg")
    write_vqa(tmp_path, *files, [entry, {**entry, "question_id": 8, "question": " "}, {**entry, "question_id": 9}])
    annotations = json.loads((tmp_path / files[1]).read_text())
    del annotations["annotations"][0]
    annotations["annotations"][1]["image_id"] = 2
    write(tmp_path / files[1], annotations)
    records, notes = convert(tmp_path, "vqav2")
    assert records == [] and notes.left_out == {"the question is blank": 1}
    missing, other = notes.bad
    assert "record 0: question 7 has no sound annotation" in missing and '"question_id": 7' in missing
    assert "question 9 is about image 1, its annotation" in other


def test_okvqa__takes_the_majority_and_of_a_tie_the_first(root):
    records, _ = convert(root, "okvqa")
    assert [texts(record) for record in records] == [
        [f"<image>\nWhat is the sport? {SHORT}", "race"],
        [f"<image>\nWhat is the sport? {SHORT}", "surf"],
    ]


def test_okvqa__without_any_answer_is_left_out_and_counted(root):
    path = "okvqa/mscoco_train2014_annotations.json"
    change(root, path, lambda content: content["annotations"][0].update(answers=people("", " ")))
    records, notes = convert(root, "okvqa")
    assert [record["id"] for record in records] == ["516066"] and notes.left_out == {"the answer is blank": 1}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["b", "a", "a"], "a"),
        (["b", "a"], "b"),
        (["a", "b", "b", "a"], "a"),
        (["", " ", "x"], "x"),
        (["x ", "y", "x"], "x"),
    ],
)
def test_majority(answers, expected):
    assert majority(answers) == expected


def test_textvqa__has_answers_as_texts_and_images_by_their_ids(root):
    records, _ = convert(root, "textvqa")
    assert records[1]["image"] == "textvqa/train_images/0054c91397f2fe01.jpg" and records[1]["id"] == "1"
    assert texts(records[1]) == [f"<image>\nwhat is the brand of phone? {SHORT}", "nokia"]


def test_vizwiz__carries_the_instruction_for_what_cannot_be_answered(root):
    answerable, unanswerable = convert(root, "vizwiz")[0]
    instruction = "When the provided information is insufficient, respond with 'unanswerable'."
    assert texts(answerable) == [f"<image>\nWhat's the name of this product? {instruction} {SHORT}", "basil leaves"]
    assert texts(unanswerable)[1] == "unanswerable", "most people said 'unsuitable'"
    assert instruction in texts(unanswerable)[0]
    assert answerable["id"] == "VizWiz_train_00000000"


def test_aokvqa__is_asked_with_choices_and_with_a_short_answer_unless_that_is_difficult(root):
    records, notes = convert(root, "aokvqa")
    choices = "A. skateboarder\nB. train\nC. delivery\nD. cab"
    question = "<image>\nWhat is the man by the bags awaiting?"
    assert [texts(record) for record in records[:2]] == [
        [f"{question}\n{choices}\n{LETTER}", "D"],
        [f"{question} {SHORT}", "ride"],
    ]
    assert [record["id"] for record in records] == [
        "22MexNkBPpdZGX6sxbxVBH-choice",
        "22MexNkBPpdZGX6sxbxVBH-direct",
        "2aVHXZEpNPEE49XVHJ2NKd-choice",
    ]
    assert records[0]["image"] == "coco/train2017/000000299207.jpg"
    assert notes.counts["difficult direct answers, asked with choices alone"] == 1


def test_scienceqa__puts_hints_first_and_keeps_problems_without_an_image(root):
    pictured, text_only = convert(root, "scienceqa")[0]
    asked = f"Which of these states is farthest north?\nA. West Virginia\nB. Louisiana\nC. Arizona\n{LETTER}"
    assert texts(pictured) == [f"<image>\n{asked}", "A"]
    assert pictured["image"] == "scienceqa/images/train/1/image.png"
    assert texts(text_only) == [f"Look at the passage.\n{asked}", "C"] and "image" not in text_only


def test_scienceqa__uses_neither_lecture_nor_solution_nor_another_split(root):
    records, notes = convert(root, "scienceqa")
    assert [record["id"] for record in records] == ["1", "4"] and notes.counts["problems of all splits"] == 4
    assert not any(word in str(records) for word in ("cardinal", "compass"))


def test_dvqa__takes_training_charts_and_neither_the_easy_nor_the_hard_validation(root):
    records, _ = convert(root, "dvqa")
    assert [record["id"] for record in records] == ["0", "1", "2"]
    assert texts(records[0]) == [f"<image>\nHow many bars are there? {SHORT}", "two"]
    mixed = [dvqa_question(f"bar_{split}_00000001.png", n) for n, split in enumerate(("train", "val_easy", "val_hard"))]
    write(root / "dvqa/train_qa.json", mixed)
    records, notes = convert(root, "dvqa")
    assert [record["image"] for record in records] == ["dvqa/images/bar_train_00000001.png"]
    assert notes.left_out == {"the chart is not of the training split": 2}


def test_dvqa__may_write_a_value_as_a_number(root):
    values = ["two", 2, 0.5]
    asked = [{**dvqa_question("bar_train_00000001.png", n), "answer": value} for n, value in enumerate(values)]
    write(root / "dvqa/train_qa.json", asked)
    assert [texts(record)[1] for record in convert(root, "dvqa")[0]] == ["two", "2", "0.5"]


def test_ai2d__counts_answers_from_0_and_leaves_test_diagrams_out(root):
    records, notes = convert(root, "ai2d")
    asked = f"<image>\nWhat is in the middle?\nA. ears\nB. nose\nC. mouth\nD. face\n{LETTER}"
    assert texts(records[0]) == [asked, "A"] and records[0]["id"] == "0.png-0"
    assert texts(records[1])[1] == "D"
    assert {record["image"].split("/")[-1] for record in records} == {"0.png", "1.png"}
    assert notes.left_out == {"the diagram is of the test split": 2}


def test_ai2d__shows_letters_where_the_choices_name_letters(root):
    records, _ = convert(root, "ai2d")
    assert [record["image"] for record in records[:2]] == ["ai2d/images/0.png", "ai2d/abc_images/0.png"]
    (root / "ai2d/abc_images").rename(root / "ai2d/elsewhere")
    records, notes = convert(root, "ai2d")
    assert [record["id"] for record in records] == ["0.png-0", "1.png-0"]
    assert sum(count for reason, count in notes.left_out.items() if "abc_images" in reason) == 2


def test_ai2d__without_its_test_ids_is_missing_a_file(root):
    (root / "ai2d/ai2d_test_ids.csv").unlink()
    with pytest.raises(MissingFiles, match="ai2d_test_ids"):
        convert(root, "ai2d")


def test_chartqa__takes_human_and_augmented_questions_and_says_which(root):
    records, notes = convert(root, "chartqa")
    assert notes.counts == {"questions": 3, "human questions": 1, "augmented questions": 2}
    assert [record["id"].split("-")[0] for record in records] == ["human", "augmented", "augmented"]
    assert records[0]["image"] == "chartqa/ChartQA Dataset/train/png/41699051005347.png"
    assert texts(records[1]) == [f"<image>\nWhat was the share in 2018? {SHORT}", "57.3"]


def test_gqa__reads_the_balanced_split_from_its_file_or_from_all_questions(root):
    records, _ = convert(root, "gqa")
    assert texts(records[0]) == [f"<image>\nIs the sky dark? {SHORT}", "yes"] and records[0]["id"] == "02930150"
    assert records[0]["image"] == "gqa/images/2354780.jpg"
    (root / "gqa/train_balanced_questions.json").unlink()
    for part in range(2):
        questions = {f"{part}{n}": gqa_question("2354780", balanced=n == 0) for n in range(3)}
        write(root / f"gqa/train_all_questions/train_all_questions_{part}.json", questions)
    records, notes = convert(root, "gqa")
    assert [record["id"] for record in records] == ["00", "10"]
    assert notes.counts["balanced questions"] == 2 and notes.left_out == {
        "the question is not of the balanced split": 4
    }


def test_llava_150k__keeps_turns_and_conversations_that_share_an_id(root):
    records, _ = convert(root, "llava_150k")
    assert [record["id"] for record in records] == ["000000033471", "000000033471", "000000052846"]
    assert records[0]["image"] == "coco/train2017/000000033471.jpg" and len(records[0]["conversations"]) == 4
    assert texts(records[1]) == ["Describe the bus.\n<image>", "A bus in white and red stands at a stop."]


def change(root, path, edit):
    content = json.loads((root / path).read_text())
    edit(content)
    write(root / path, content)


@pytest.mark.parametrize(
    ("name", "path", "edit", "message"),
    [
        ("vqav2", "vqav2/v2_OpenEnded_mscoco_train2014_questions.json",
         lambda c: c["questions"][1].update(question=5),
         r"record 1: 'question' must be a text: got 5; it is"),
        ("textvqa", "textvqa/TextVQA_0.5.1_train.json", lambda c: c["data"][0].pop("answers"), "it lacks 'answers'"),
        ("aokvqa", "aokvqa/aokvqa_v1p0_train.json", lambda c: c[0].update(correct_choice_idx=4),
         "record 0: the answer 4 is none of the choices, which count from 0 to 3"),
        ("scienceqa", "scienceqa/problems.json", lambda c: c["4"].update(answer=-1), "record '4': the answer -1 is none"),
        ("ai2d", "ai2d/questions/1.png.json", lambda c: c["questions"]["What is in the middle?"].update(correctAnswer=4),
         r"1\.png\.json: record 'What is in the middle\?': the answer 4 is none"),
        ("gqa", "gqa/train_balanced_questions.json", lambda c: c["02930151"].update(question="What <image>?"),
         "record '02930151': the question holds '<image>'"),
        ("llava_150k", "llava/llava_instruct_150k.json", lambda c: c[2]["conversations"].pop(), "record 2: .*1 messages"),
        ("llava_150k", "llava/llava_instruct_150k.json", lambda c: c[2]["conversations"][0].update({"from": "gpt"}),
         "record 2: message 0 must be from 'human', got 'gpt'"),
        ("chartqa", "chartqa/ChartQA Dataset/train/train_human.json", lambda c: c[0].update(label=14),
         r"train_human\.json: record 0: 'label' must be a text: got 14"),
        ("dvqa", "dvqa/train_qa.json", lambda c: c[1].update(answer=None), r"train_qa\.json: record 1"),
        ("vizwiz", "vizwiz/Annotations/train.json", lambda c: c[1].update(answers=["a"]), r"train\.json: record 1"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named_and_the_others_are_read(tmp_path, name, path, edit, message):
    getattr(official_files, f"write_{name}")(tmp_path)
    sound, _ = convert(tmp_path, name)
    change(tmp_path, path, edit)
    records, notes = convert(tmp_path, name)
    assert 0 < len(records) < len(sound) and all(record in sound for record in records)
    (bad,) = notes.bad
    assert re.search(message, bad) and str(tmp_path) in bad and "it is {" in bad


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_off_is_named(tmp_path, name):
    getattr(official_files, f"write_{name}")(tmp_path)
    files = SETS[name].find(tmp_path).files
    path = next(paths[0] for key, paths in files.items() if paths[0].suffix == ".json")
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"is not the official file \(is it complete\?\).*again") as error:
        convert(tmp_path, name)
    assert str(path) in str(error.value)


def test_bytes_that_are_no_text_are_named(tmp_path):
    official_files.write_gqa(tmp_path)
    path = tmp_path / "gqa/train_balanced_questions.json"
    path.write_bytes(path.read_bytes().replace(b"Is the sky", b"Is th\xff sky", 1))
    records, notes = convert(tmp_path, "gqa")
    assert len(records) == 2 and "record '02930150': 'utf-8' codec" in notes.bad[0]
    path.write_bytes(b'{"\xff": {}}')
    with pytest.raises(ValueError, match="is it complete"):
        convert(tmp_path, "gqa")


def test_at_most_26_choices_have_letters():
    assert choice_letter(25, 26) == "Z"
    with pytest.raises(ValueError, match="at most 26 choices"):
        choice_question("Which?", ["x"] * 27)
