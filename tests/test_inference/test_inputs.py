"""Who is asked what: every way to give images and questions."""

import json

import numpy as np
import pytest
from PIL import Image

from lira_plugin.inference import read_prompts
from lira_plugin.structures import GroundedSpan, GroundedText, decode_union

ARRAY = np.zeros((4, 5, 3), np.uint8)


@pytest.fixture
def paths(tmp_path):
    names = ["b.png", "a.jpg"]
    for name in names:
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    return [tmp_path / name for name in names]


def asked(*arguments):
    return [(prompt.name, prompt.question) for prompt in read_prompts(*arguments)]


def test_images_and_questions_are_paired(paths):
    b, a = map(str, paths)
    assert asked(paths[0], "q") == [(b, "q")]
    assert asked(b, ["q", "r"]) == [(b, "q"), (b, "r")]
    assert asked(paths, "q") == [(b, "q"), (a, "q")]
    assert asked((b, a), ["q", "r"]) == [(b, "q"), (a, "r")]
    assert asked(None, "q") == [("no image", "q")]


def test_what_is_in_memory_is_named_by_its_place_and_the_same_object_is_the_same_image():
    other, pil = ARRAY.copy(), Image.new("RGB", (2, 2))
    names = [name for name, _ in asked([ARRAY, other, ARRAY, pil], "q")]
    assert names == ["image 1", "image 2", "image 1", "image 4"]


def test_a_folder_is_its_images_by_name(paths, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "sub.png").mkdir()
    assert asked(tmp_path, "q") == [(str(paths[1]), "q"), (str(paths[0]), "q")]
    assert asked(str(tmp_path), ["q"]) == asked(tmp_path, "q")


def test_a_file_of_questions(paths, tmp_path):
    lines = [{"image": "a.jpg", "question": "q"}, {"image": "b.png", "question": "r"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert asked(tmp_path / "q.jsonl") == [(str(tmp_path / "a.jpg"), "q"), (str(tmp_path / "b.png"), "r")]
    with pytest.raises(ValueError, match="own questions"):
        read_prompts(tmp_path / "q.jsonl", "q")
    (tmp_path / "q.jsonl").write_text(json.dumps(lines[0]) + "\n{")
    with pytest.raises(ValueError, match=r"q\.jsonl, line 2"):
        read_prompts(tmp_path / "q.jsonl")
    (tmp_path / "q.jsonl").write_text('{"image": "a.jpg"}')
    with pytest.raises(ValueError, match=r"line 1: it lacks 'question'"):
        read_prompts(tmp_path / "q.jsonl")


@pytest.mark.parametrize(
    ("images", "questions", "error", "message"),
    [
        ("none.png", "q", FileNotFoundError, "none.png"),
        (ARRAY, None, ValueError, "None"),
        (ARRAY, [], ValueError, r"\[\]"),
        (ARRAY, ["q", " "], ValueError, "not empty"),
        ([], "q", ValueError, "no image"),
        ([ARRAY] * 3, ["q", "r"], ValueError, "3 images .* got 2"),
        ([ARRAY, ARRAY[..., 0]], "q", ValueError, r"image 2 .*uint8 \(4, 5\)"),
        (ARRAY.astype(float), "q", ValueError, "float64"),
        (ARRAY[:0], "q", ValueError, "no pixels"),
        ([3], "q", ValueError, "int"),
    ],
)
def test_what_makes_no_sense_is_named(images, questions, error, message):
    with pytest.raises(error, match=message):
        read_prompts(images, questions)


def test_a_folder_without_images_or_with_several_questions(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"no images in the folder .* \(it has 1 files"):
        read_prompts(tmp_path, "q")
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="one question"):
        read_prompts(tmp_path, ["q", "r"])


def test_a_folder_leaves_out_formats_that_are_not_read(tmp_path):
    for name in ("a.png", "b.eps", "c.ico", "d.tif"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    assert [prompt.name for prompt in read_prompts(tmp_path, "q")] == [
        str(tmp_path / name) for name in ("a.png", "d.tif")
    ]


def test_history_becomes_turns_with_regions():
    masks = np.random.default_rng(0).random((3, 4, 5)) < 0.5
    first = GroundedText(
        "a cat and a dog", (GroundedSpan(2, 5, "cat", masks[0]), GroundedSpan(12, 15, "dog", masks[1]))
    )
    second = GroundedText("It is .", (GroundedSpan(6, 6, "", masks[2]),))
    [prompt] = read_prompts(ARRAY, "And now?")
    record = prompt.record(0, [("What?", first), ("Where?", second)])
    turns = record.conversation.turns
    assert [turn.question for turn in turns] == ["What?", "Where?", "And now?"]
    assert [turn.answer for turn in turns] == ["a cat and a dog", "It is .", ""]
    assert [(span.start, span.end, span.region) for span in turns[0].spans] == [(2, 5, 0), (12, 15, 1)]
    assert not turns[1].spans, "a mask without a phrase has no place"
    assert [region.phrase for region in record.regions] == ["cat", "dog"]
    for region, mask in zip(record.regions, masks):
        assert (decode_union(region.segmentations, 4, 5) == mask).all()


def test_a_forced_prompt_names_its_region():
    [prompt] = read_prompts(ARRAY, "please segment The Red car.")
    assert [region.phrase for region in prompt.record(0, force=True).regions] == ["the red car"]
    for question, history in (("What is this?", ()), ("Please segment it.", [("q", GroundedText("a"))])):
        [prompt] = read_prompts(ARRAY, question)
        with pytest.raises(ValueError, match="force"):
            prompt.record(0, history, force=True)
    [prompt] = read_prompts(None, "Please segment the red car.")
    with pytest.raises(ValueError, match="in an image, and 'Please segment the red car.' comes without one"):
        prompt.record(0, force=True)
