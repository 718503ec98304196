"""Captions side by side, hallucinated words in red."""

import html.parser

import cv2
import numpy as np
import pytest

from lira_plugin.evaluation.chair_scores import judge_caption
from lira_plugin.evaluation.object_words import coco_words
from lira_plugin.visualization.hallucination import RED, hallucination_figure, hallucination_page, most_different

TEXTS = {
    "with ILVC": ["A dog & <b>dogs</b>.", "Cats, a cat, a bus.", "A kite."],
    "without ILVC": ["A dog, a cat.", "A bus.", "A kite and a cup."],
}


@pytest.fixture
def sides():
    words = coco_words()
    return {
        side: [judge_caption(str(index), text, frozenset({"dog"}), words) for index, text in enumerate(texts)]
        for side, texts in TEXTS.items()
    }


@pytest.fixture
def images(tmp_path):
    paths = {str(index): str(tmp_path / f"{index}.png") for index in range(3)}
    for path in paths.values():
        cv2.imwrite(path, np.full((40, 60, 3), 200, np.uint8))
    return paths


class Marked(html.parser.HTMLParser):
    """The texts in ``<mark>``, and all text."""

    def __init__(self):
        super().__init__()
        self.marked, self.text, self.inside, self.images = [], "", False, 0

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "mark"
        self.images += tag == "img" and dict(attrs)["src"].startswith("data:image/jpeg;base64,")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "mark"

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.marked.append(data)


def test_those_that_differ_most_come_first(sides):
    assert most_different(sides, 2) == [1, 2]  # 3 and 1 words; 1 and 2; 0 and 1
    assert most_different(sides, 9) == [1, 2, 0]


def test_the_page_marks_what_is_hallucinated(sides, images):
    figures = {"with ILVC": {"CHAIRs": 0.25}, "without ILVC": {"CHAIRs": 1 / 3, "random/F1": 0.5}}
    wrong = {"with ILVC": {"0": ["Is there a <cup>? yes"]}, "without ILVC": {"2": ["Is there a dog? no"]}}
    page = Marked()
    page.feed(hallucination_page(sides, figures, images, [1, 0], "Describe <this>.", wrong))
    assert page.marked == ["Cats", "cat", "bus", "bus", "cat", "Is there a <cup>? yes"] and page.images == 2
    assert "Describe <this>." in page.text and "0.333" in page.text and "random/F1" in page.text
    assert TEXTS["with ILVC"][0] in page.text and TEXTS["with ILVC"][2] not in page.text


def test_the_figure_has_red_words_where_something_is_hallucinated(sides, images):
    figures = {side: {"CHAIRs": 0.5} for side in sides}

    def red_pixels(shown):
        figure = hallucination_figure(sides, figures, images, shown)
        return int((figure == RED).all(axis=2).sum())

    assert red_pixels([]) == 0
    assert red_pixels([1]) > red_pixels([0]) > 0
