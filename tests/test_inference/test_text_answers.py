"""Questions of other frameworks, answered in words."""

from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from lira_plugin.inference.text_answers import TextQuestion, answer_in_words

TEXTS = ["What is it?", "How many are there?", "Is it red?"]


def pictures(count, size=(40, 30)):
    pixels = np.random.default_rng(0).integers(0, 255, (count, size[1], size[0], 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in pixels]


def questions(images, texts=TEXTS):
    return [TextQuestion(f"question {text}", text, (image,)) for image in images for text in texts]


def test_answers_are_those_of_the_inferencer_one_by_one_without_ilvc(lira):
    asked = questions(pictures(2))
    alone = [lira(one.images[0], one.text, ilvc=False, max_new_tokens=6)[0].text for one in asked]
    with patch.object(lira.model, "encode_images", wraps=lira.model.encode_images) as encode:
        together = answer_in_words(lira, asked, max_new_tokens=6, batch_size=8)
    assert together == alone and any(alone)
    assert encode.call_count == 1


def test_equal_pixels_are_encoded_once_whatever_holds_them(lira):
    image, other = pictures(2)
    held = [image.copy(), np.asarray(image), image, other]
    asked = [TextQuestion(str(index), "What is it?", (each,)) for index, each in enumerate(held)]
    sizes = []
    encode = lira.model.pixel_encoder.encode
    with patch.object(lira.model.pixel_encoder, "encode", lambda batch: sizes.append(len(batch)) or encode(batch)):
        answers = answer_in_words(lira, asked, max_new_tokens=4, batch_size=8)
    assert sizes == [2] and len(set(answers[:3])) == 1


def test_placeholders_of_images_are_not_asked(lira):
    (image,) = pictures(1)
    texts = ["<image>\nWhat is it?", "What is it?", "What is it? <image>"]
    first, *rest = answer_in_words(lira, questions([image], texts), max_new_tokens=6)
    assert rest == [first, first]


def test_questions_without_an_image_and_none_at_all(lira):
    assert answer_in_words(lira, []) == []
    assert len(answer_in_words(lira, [TextQuestion("q", "Who are you?")], max_new_tokens=3)) == 1


def test_what_cannot_be_asked_is_named(lira, tmp_path):
    image, other = pictures(2)
    with pytest.raises(ValueError, match="question 7 of mmmu: it is about 2 images, and LIRA takes one"):
        answer_in_words(lira, [TextQuestion("question 7 of mmmu", "Which?", (image, other))])
    with pytest.raises(ValueError, match="q3: the question is blank, got ' <image> '"):
        answer_in_words(lira, [TextQuestion("q3", " <image> ", (image,))])
    image.save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(ValueError, match="q4: its image cannot be read"):
        answer_in_words(lira, [TextQuestion("q4", "What?", (Image.open(tmp_path / "cut.png"),))])
