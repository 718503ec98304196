"""Bars of words beside a mask, and word clouds."""

import builtins

import numpy as np
import pytest

from lira_plugin.evaluation import RankedWord
from lira_plugin.visualization import attribute_row, bar_chart, draw_word_cloud, palette, panel, word_counts

COLOR = (25, 113, 194)
WORDS = [
    RankedWord(*pair)
    for pair in (("red", 0.5), ("blue", 0.25), ("gray", 0.125), ("green", 0.1), ("tan", 0.02), ("x", 0.005))
]


def bars(chart, color=COLOR):
    """Length in pixels of each stretch of lines with a bar, from top to bottom."""
    lengths = (np.abs(chart.astype(int) - color).sum(-1) == 0).sum(1)
    found = []
    for before, length in zip([0, *lengths[:-1]], lengths):
        if length and not before:
            found.append(0)
        if length:
            found[-1] = max(found[-1], int(length))
    return found


def test_bars_are_as_long_as_their_probabilities():
    chart = bar_chart(WORDS, COLOR, height=240, width=300)
    assert chart.shape == (240, 300, 3) and chart.dtype == np.uint8
    first, *others = bars(chart)
    assert len(others) == 4, "the first five"
    assert others == pytest.approx([first / 2, first / 4, first / 5, max(1, first / 25)], abs=1.01)


def test_the_true_word_stands_out():
    """Its bar alone has the colour; words are left of the bars."""
    plain = bar_chart(WORDS, COLOR)
    left = int((np.abs(plain.astype(int) - COLOR).sum(-1) == 0).any(0).argmax())
    assert bars(bar_chart(WORDS, COLOR, truth="blue")[:, left:]) == bars(plain)[1:2]
    assert bars(bar_chart(WORDS, COLOR, truth="mauve")[:, left:]) == []


@pytest.mark.parametrize(
    "words", [WORDS[:1], [RankedWord("a very long name of a thing that has no end", 1.0)], [RankedWord("红", 0.0)]]
)
def test_odd_words_are_drawn(words):
    assert bar_chart(words, COLOR).shape == (240, 260, 3)


@pytest.mark.parametrize("settings", [{"lines": 0}, {"height": 30}, {"width": 40}, {"words": []}])
def test_charts_that_cannot_be_drawn(settings):
    with pytest.raises(ValueError, match="chart"):
        bar_chart(**{"words": WORDS, "color": COLOR, **settings})


def test_a_chart_for_each_kind_beside_the_mask():
    image, mask = np.full((40, 60, 3), 90, np.uint8), np.zeros((40, 60), bool)
    mask[10:20, 10:30] = True
    words = {"color": WORDS, "category": WORDS[:2]}
    row = attribute_row(image, mask, words, expression="the car", truth={"color": "red"}, cell_height=200)
    assert row.title == "the car" and [cell.name for cell in row.cells] == [
        "coarse mask",
        "color (true: red)",
        "category",
    ]
    picture, first, second = row.cells
    assert picture.masks[0] is mask and (picture.image == image).all()
    assert bars(first.image, palette(2)[1]) and bars(second.image, palette(3)[2])
    assert all(cell.image.shape[0] == 200 for cell in row.cells[1:]), "not scaled in the figure"
    drawn = panel([row], cell_height=200)
    assert (np.abs(drawn.astype(int) - palette(2)[1]).sum(-1) == 0).any()


def test_words_are_counted_without_small_ones():
    assert word_counts(["The red car's door", "red car on the left", "2 cars"]) == {
        "red": 2,
        "car's": 1,
        "door": 1,
        "car": 1,
        "left": 1,
        "cars": 1,
    }


def test_frequent_words_are_large():
    pytest.importorskip("wordcloud")
    counts = {"red": 40, "blue": 10, "gray": 1}
    cloud = draw_word_cloud(counts, width=300, height=200)
    assert cloud.shape == (200, 300, 3) and cloud.dtype == np.uint8
    assert (cloud != 255).any(-1).mean() > 0.05
    assert (cloud == draw_word_cloud(dict(reversed(counts.items())), width=300, height=200)).all(), "in whatever order"
    assert (cloud != draw_word_cloud(counts, width=300, height=200, seed=1)).any()
    with pytest.raises(ValueError, match="no word to draw"):
        draw_word_cloud({"red": 0})


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "wordcloud":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'lira-plugin\[attreval\]'"):
        draw_word_cloud({"red": 1})
