"""What files and models may hold, at random, against plain statements: masks, grounded answers, letterboxes.

Nothing crashes or hangs, whatever comes in: it is read as the statement says, or is a ``ValueError``. Runs and compressed texts
are in ``test_structures/test_rle.py``.
"""

import numpy as np
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lira_plugin.models.generation import read_answer
from lira_plugin.structures import Letterbox, decode_segmentation, decode_union, encode_mask, is_empty_annotation
from lira_plugin.tokens import SpecialTokenIds

fuzz = settings(deadline=None, max_examples=80)
sides = st.integers(1, 24)


# Masks


def plain_polygon(points, height, width):
    """Inside by the even-odd rule, at the centres of the pixels; and the distance of these from the outline."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside, distance = np.zeros((height, width), bool), np.full((height, width), np.inf)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]]):
        crosses = (y0 > rows) != (y1 > rows)
        inside ^= crosses & (columns < (x1 - x0) * (rows - y0) / (y1 - y0 if y1 != y0 else 1) + x0)
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
        share = np.clip(((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / length, 0, 1)
        distance = np.minimum(distance, np.hypot(columns - x0 - share * (x1 - x0), rows - y0 - share * (y1 - y0)))
    return inside, distance


@fuzz
@given(sides, sides, st.data())
def test_a_polygon_is_its_inside_up_to_a_pixel_along_the_outline(height, width, data):
    point = st.tuples(st.floats(-2, width + 2), st.floats(-2, height + 2))
    points = data.draw(st.lists(point, min_size=3, max_size=8))
    mask = decode_segmentation([[value for point in points for value in point]], height, width)
    inside, distance = plain_polygon(points, height, width)
    sure = distance > 1
    np.testing.assert_array_equal(mask[sure], inside[sure])


@fuzz
@given(sides, sides, st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_a_union_has_the_pixels_of_all_its_parts(height, width, seed, count):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < rng.choice([0, 0.1, 0.5])
    rles = [encode_mask(mask) for mask in masks]
    expected = masks.any(0)
    np.testing.assert_array_equal(decode_union(rles, height, width), expected)
    np.testing.assert_array_equal(decode_segmentation(rles, height, width), expected)
    assert is_empty_annotation(rles) == (not expected.any())


numbers = st.sampled_from([10**400, -(10**400), 2**63, 2**31, 1e300]) | st.integers(-3, 30) | st.floats()
scalars = st.none() | st.booleans() | numbers | st.text(max_size=5)
sizes = st.just([4, 5]) | st.lists(st.integers(-2, 6), max_size=3) | scalars
counts = st.lists(st.integers(-2, 12) | scalars, max_size=6) | scalars
rles = st.fixed_dictionaries({}, optional={"size": sizes, "counts": counts})
polygons = st.lists(st.lists(st.integers(0, 4) | numbers, min_size=5, max_size=8), min_size=1, max_size=2)
nested = st.lists(
    st.lists(scalars | rles, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=2), max_size=3
)


@settings(deadline=None, max_examples=250)
@given(scalars | rles | polygons | nested)
@example([[0, 0, 3, 0, 10**400, 3]]).via("an int that is no float")
def test_any_value_of_a_json_file_is_a_mask_or_an_error(segmentation):
    empty = is_empty_annotation(segmentation)
    try:
        mask = decode_segmentation(segmentation, 4, 5)
    except ValueError:
        return
    assert mask.shape == (4, 5) and mask.dtype == bool
    assert not (empty and mask.any()), "what its form tells is so"


# Grounded answers

SPECIAL = SpecialTokenIds(seg=0, image_id=1, phrase_start=2, phrase_end=3)
LETTERS = {4: "a", 5: "é", 6: " ", 7: ".", 8: "<p>"}
"""Text is one token a letter, and may spell a special token."""


def decode(ids):
    return "".join(LETTERS[index] for index in ids)


def bare(text):
    return "".join(text.split())


def plain_answer(items):
    """Tokens of an answer written piece by piece, its text, and its phrases as ``(start, end, tokens before, tokens after)``."""
    ids, text, found = [], "", []
    for kind, words in items:
        if kind == "text":
            ids += words
            text += decode(words)
            continue
        before = -1
        if kind == "with a view":
            before = len(ids)
            ids += [SPECIAL.seg, SPECIAL.image_id, 6]
        ids += [SPECIAL.phrase_start, 6, *words, 6, SPECIAL.phrase_end, 6]
        start = len(text)
        text += decode(words).strip()
        found.append((start, len(text), before, len(ids)))
        ids.append(SPECIAL.seg)
    return ids, text, found


pieces = st.lists(st.sampled_from(sorted(LETTERS)), min_size=1, max_size=4)
answers = st.lists(st.tuples(st.sampled_from(["text", "with a view", "without"]), pieces), max_size=6)


@fuzz
@given(answers)
def test_an_answer_is_read_as_it_was_written(items):
    ids, text, phrases = plain_answer(items)
    found, spans = read_answer(ids, SPECIAL, decode)
    assert (found, [span[:4] for span in spans]) == (text, phrases)
    for span in spans:
        phrase = decode([ids[index] for index in span.tokens if ids[index] not in SPECIAL])
        assert phrase.strip() == text[span.start : span.end].strip(), "the tokens of a phrase spell it"


soup = st.lists(st.integers(0, max(LETTERS)), max_size=24)


@settings(deadline=None, max_examples=200)
@given(soup)
def test_whatever_a_model_writes_no_word_and_no_seg_is_lost(ids):
    text, phrases = read_answer(ids, SPECIAL, decode)
    assert bare(text) == bare(decode([token for token in ids if token > 3])), "only blanks go"
    ends = [0, *(end for phrase in phrases for end in (phrase.start, phrase.end)), len(text)]
    assert ends == sorted(ends), "phrases are in order and do not overlap"
    named = [index for phrase in phrases for index in (phrase.before, phrase.after) if index >= 0]
    assert sorted(named) == [index for index, token in enumerate(ids) if token == SPECIAL.seg]
    assert named == sorted(named), "and so are their tokens"


@fuzz
@given(soup, st.integers(0, 24))
def test_what_is_shown_of_an_answer_that_goes_on_is_its_start(ids, count):
    whole, _ = read_answer(ids, SPECIAL, decode)
    shown, _ = read_answer(ids[:count], SPECIAL, decode, partial=True)
    assert whole.startswith(shown)


# Letterboxes

lengths = (
    st.integers(1, 40) | st.integers(1, 400) | st.sampled_from([1, 2, 3, 1023, 1024, 32_767, 32_768, 40_001, 70_000])
)


def plain_sources(letterbox, axis):
    """The pixel of the image under the centre of each pixel of the square; outside of the image in the padding."""
    centres = (np.arange(letterbox.size) + 0.5) * letterbox.side / letterbox.size
    return np.floor(centres).astype(int) - letterbox.offset[axis], centres % 1


def elongated(height, width):
    """Large along one side only, so that a fuzz stays small."""
    return height * width <= 200_000


@fuzz
@given(lengths, lengths, st.integers(1, 70) | st.sampled_from([128, 336]), st.integers(0, 2**32 - 1))
def test_a_mask_in_the_square_has_the_pixels_under_its_centres(height, width, size, seed):
    assume(elongated(height, width))
    letterbox = Letterbox(height, width, size)
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    (rows, row_shares), (columns, column_shares) = (plain_sources(letterbox, axis) for axis in (0, 1))
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    expected = inside & mask[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    near = 1e-4 + size / 2**16  # a centre on the border of two pixels may fall to either
    sure = (abs(row_shares - 0.5) < 0.5 - near)[:, None] & (abs(column_shares - 0.5) < 0.5 - near)
    found = letterbox.apply_mask(mask)
    assert found.shape == (size, size) and found.dtype == bool
    np.testing.assert_array_equal(found[sure], expected[sure])


def plain_interpolation(old, new):
    """(new, old) weights of linear interpolation at pixel centres; beyond the first and last centre their value holds."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(at).astype(int)
    weights = np.zeros((new, old))
    weights[np.arange(new), low] = 1 - (at - low)
    weights[np.arange(new), np.minimum(low + 1, old - 1)] += at - low
    return weights


@fuzz
@given(lengths, lengths, st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_logits_of_the_square_come_back_at_the_pixels_of_the_image(height, width, rows, columns, seed):
    assume(elongated(height, width))
    letterbox = Letterbox(height, width, size=64)
    logits = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    (top, left), side = letterbox.offset, letterbox.side
    vertical = plain_interpolation(rows, side)[top : top + height]
    horizontal = plain_interpolation(columns, side)[left : left + width]
    found = letterbox.invert_logits(torch.from_numpy(logits)[None])
    assert found.shape == (1, height, width)
    np.testing.assert_allclose(found[0].numpy(), vertical @ logits @ horizontal.T, atol=2e-4 * max(1, side / 4096))
