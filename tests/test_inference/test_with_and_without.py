"""What is asked and counted where images are described with and without ILVC."""

import pytest

from lira_plugin.evaluation.coco_objects import CocoObjects
from lira_plugin.evaluation.object_questions import ObjectQuestion
from lira_plugin.evaluation.object_words import coco_words
from lira_plugin.inference.with_and_without import all_questions, describe_images, draw_images
from lira_plugin.structures import GroundedText

INSTANCES = {"1": frozenset({"dog"}), "2": frozenset({"cat", "umbrella"}), "3": frozenset()}


@pytest.fixture
def truth(tmp_path):
    names = {image: f"{image}.jpg" for image in INSTANCES}
    for name in names.values():
        (tmp_path / name).touch()
    return CocoObjects(coco_words(), INSTANCES, file_names=names, files={"i.json": tmp_path / "i.json"})


def test_captions_and_answers_are_those_of_their_images(truth):
    images = {"2": "two.jpg", "1": "one.jpg"}
    captions = {"one.jpg": "A dog and a cat.", "two.jpg": "An umbrella."}
    calls = []

    def ask(paths, questions):
        calls.append(list(zip(paths, questions)))
        known = {"Is an umbrella there?": "Yes, it is.", "Is a dog there?": "No."}
        return [GroundedText(known.get(text) or captions[path]) for path, text in zip(paths, questions)]

    questions = [
        ObjectQuestion("2", "umbrella", "yes", "random"),
        ObjectQuestion("2", "dog", "no", "random"),
        ObjectQuestion("1", "dog", "yes", "popular"),
    ]
    found = describe_images(ask, truth, images, "Describe.", questions, "Is {object} there?")
    assert calls == [
        [("two.jpg", "Describe."), ("one.jpg", "Describe.")],
        [("two.jpg", "Is an umbrella there?"), ("two.jpg", "Is a dog there?"), ("one.jpg", "Is a dog there?")],
    ]
    figures = found.figures()
    assert (figures["CHAIRs"], figures["CHAIRi"], figures["recall"]) == pytest.approx((1 / 2, 1 / 3, 2 / 3))
    assert (figures["random/accuracy"], figures["random/yes_share"], figures["popular/accuracy"]) == (1.0, 0.5, 0.0)
    assert "adversarial/accuracy" not in figures
    assert found.wrong_answers() == {"1": ["Is a dog there? No."]}
    assert found.answers[2].to_json() == {
        "image_id": "1",
        "question": "Is a dog there?",
        "answer": "No.",
        "label": "yes",
        "category": "popular",
    }


def test_no_questions_are_asked_where_none_are_wanted(truth):
    assert all_questions(truth, list(INSTANCES), 0, 0) == []
    assert {one.kind for one in all_questions(truth, list(INSTANCES), 1, 0)} == {"random", "popular", "adversarial"}
    found = describe_images(lambda paths, _: [GroundedText("")] * len(paths), truth, {"3": "3.jpg"}, "Describe.")
    assert found.answers == [] and found.figures()["captions"] == 1


def test_images_are_drawn_by_the_seed_and_have_to_be_there(truth, tmp_path):
    drawn = draw_images(truth, tmp_path, 2, seed=1)
    assert drawn == draw_images(truth, tmp_path, 2, seed=1) and len(drawn) == 2
    assert draw_images(truth, tmp_path, 9, seed=0).keys() == INSTANCES.keys()
    (tmp_path / "3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images of .*i\.json are not in .*such as 3\.jpg.*--images"):
        draw_images(truth, tmp_path, 3, seed=0)
    with pytest.raises(ValueError, match="got a count of 0"):
        draw_images(truth, tmp_path, 0, seed=0)
    nameless = CocoObjects(coco_words(), INSTANCES)
    with pytest.raises(ValueError, match="has no 'file_name'"):
        draw_images(nameless, tmp_path, 1, seed=0)


def test_a_question_without_its_object_is_refused(truth):
    with pytest.raises(ValueError, match="must hold '{object}', got 'Is it there\\?'"):
        describe_images(list, truth, {}, "Describe.", wording="Is it there?")
