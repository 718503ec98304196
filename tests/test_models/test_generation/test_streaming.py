"""News of answers while they are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_llm import (
    BYTES,
    GROUNDED,
    SEG,
    SPACE,
    START,
    STOP,
    VIEW,
    ScriptedGrounder,
    alike,
    column,
    decode,
    generator,
    request,
    run,
)

from lira_plugin.models.generation import Decoding


def news_of(scripts, requests, **settings):
    news = list(generator(ScriptedGrounder(*scripts), **settings).stream(requests))
    return [[one for one in news if one.request_index == number] for number in range(len(requests))]


def test_text_and_masks_come_one_after_the_other():
    script = [11, *GROUNDED]
    (news,) = news_of([script], [request(0)])
    assert [one.piece for one in news] == ["A", " ", "", "dog", ".", ""]
    assert [[(span.phrase, span.refined) for span in one.answer.spans] for one in news] == [
        [],
        [],
        [("", False)],
        [("dog", False)],
        [("dog", True)],
        [("dog", True)],
    ]
    first, refined = news[2].answer.spans[0], news[4].answer.spans[0]
    np.testing.assert_array_equal(first.mask, column(1))
    np.testing.assert_array_equal(refined.coarse_mask, column(1))
    np.testing.assert_array_equal(refined.mask, column(10))
    assert [one.done for one in news] == [False] * 5 + [True]
    assert [one.answer.finished for one in news] == [False] * 5 + [True]


def test_a_coarse_mask_is_told_before_its_view_is_encoded():
    """A row that waits for others has told its mask already."""
    grounder = ScriptedGrounder(GROUNDED, [10] * 20)
    for progress in generator(grounder).stream([request(0), request(1)]):
        if progress.request_index == 0:
            assert len(progress.answer.spans) == 1 and not grounder.views
            break


def test_a_letter_comes_when_all_of_its_bytes_are_there():
    letter = [number for number in BYTES if number >= 20]
    (news,) = news_of([letter], [request(0)])
    assert [one.piece for one in news if one.piece] == ["a", "b", " é", "人", "\n"]


@pytest.mark.parametrize("stop", ["dog runs", " runs.", "dog.", "<seg>.", "</p> <seg>. "])
def test_what_may_become_a_stop_string_is_held_back(stop):
    script = [*GROUNDED[:-1], 13, SPACE, 10, 12, 13, 10]
    (news,) = news_of([script], [request(0)], stop_strings=(stop,))
    (answer,) = run(ScriptedGrounder(script), [request(0)], stop_strings=(stop,))
    assert "".join(one.piece for one in news) == news[-1].answer.text == answer.text
    raw = decode(script)
    assert answer.raw_text == (raw[: raw.index(stop)] if stop in raw else raw)


TOKENS = [SEG, SEG, VIEW, START, STOP, SPACE, SPACE, 10, 11, 14, *range(20, 20 + len("ab é人\n".encode()))]
WORDS = ["dog", " dog", "g ", " ", "ab", "aa", "é", "<seg>", "<seg>a", "image", "</p> <", "p> A", "\n"]


@given(
    st.lists(st.lists(st.sampled_from(TOKENS), max_size=22), min_size=1, max_size=4),
    st.lists(st.sampled_from(WORDS), max_size=2),
    st.integers(1, 24),
    st.integers(1, 4),
)
def test_pieces_add_up_to_the_answer(scripts, stop_strings, limit, batch_size):
    settings = {"stop_strings": tuple(stop_strings), "max_new_tokens": limit, "batch_size": batch_size}
    requests = [request(number, image=number != 1) for number in range(len(scripts))]
    answers = run(ScriptedGrounder(*scripts), requests, **settings)
    for answer, news in zip(answers, news_of(scripts, requests, **settings), strict=True):
        told, masks = "", 0
        for one in news:
            told += one.piece
            assert one.answer.text == told, "append-only, and nothing is lost"
            assert one.done == (one is news[-1])
            now = sum(span.refined + (span.coarse_mask is not None) for span in one.answer.spans)
            assert now >= masks and (one.piece or now > masks or one.done), "news every time"
            masks = now
            assert all(0 <= span.start <= span.end <= len(told) for span in one.answer.spans)
            assert all(span.phrase == told[span.start : span.end] for span in one.answer.spans)
        alike(news[-1].answer, answer)
        assert not any(word in answer.raw_text for word in stop_strings)


def test_forced_answers_are_told_too():
    (news,) = news_of([[]], [request(0, forced_ids=tuple(GROUNDED[:-1]), closed=True)])
    assert "".join(one.piece for one in news) == "dog" and news[-1].answer.finished
    assert [span.refined for one in news for span in one.answer.spans] == [False, True]


def test_settings_of_a_request_hold_for_its_news():
    requests = [request(0), request(1, decoding=Decoding(stop_strings=("dog",)))]
    plain, stopped = news_of([[11, 10], [11, 10]], requests)
    assert plain[-1].answer.text == "A dog" and stopped[-1].answer.text == "A "
