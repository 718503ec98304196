"""Requests that come while others are answered, and answers that nobody waits for any more."""

import numpy as np
from support.scripted_llm import GROUNDED, ScriptedGrounder, alike, generator, request, run

LONG = [10] * 20


def test_a_request_that_comes_later_joins_the_running_batch():
    grounder = ScriptedGrounder(LONG, LONG, GROUNDED)
    told = []

    def requests():
        yield request(0)
        while not told:  # nobody else is there yet
            yield None
        yield None
        joined.append(len(told))
        yield request(1, draw_index=0)

    joined, lengths = [], {}
    for progress in generator(grounder, batch_size=4).stream(requests()):
        told.append(progress)
        if progress.done:
            lengths[progress.request_index] = len(progress.answer.text)
    first, second = sorted(lengths)
    assert first == 0 and second > 1, "every None has an index of its own"
    assert lengths[first] == lengths[second] == 20 * len("dog")
    assert joined == [joined[0]] and 0 < joined[0] < len(told), "it came in the middle"
    assert (2, 1) in grounder.llm.passes, "both were run in one pass"


def test_a_stream_ends_where_nothing_is_written_and_nobody_comes():
    assert [news.done for news in generator(ScriptedGrounder(GROUNDED)).stream([request(0), None])][-1]
    assert not list(generator(ScriptedGrounder(GROUNDED)).stream(iter([None, request(0)])))


def test_an_abandoned_answer_frees_its_slot_before_the_next_pass():
    gone = []
    grounder = ScriptedGrounder(LONG, GROUNDED)
    news = generator(grounder, batch_size=1).stream([request(0, is_abandoned=lambda: bool(gone)), request(1)])
    next(news)
    passes = len(grounder.llm.passes)
    gone.append(True)
    last = next(news)
    assert (last.request_index, last.done, last.answer.finished) == (0, True, False)
    assert len(grounder.llm.passes) == passes, "nothing ran for it"
    *_, other = news
    assert other.request_index == 1 and other.answer.finished and not grounder.decoded.count(0)


def test_an_abandoned_answer_leaves_its_batch_mates_as_they_were():
    scripts = [LONG, GROUNDED, LONG]
    alone = [run(ScriptedGrounder(*scripts), [request(index)])[0] for index in (1, 2)]
    for last_told in range(6):
        told = []
        abandoned = request(0, is_abandoned=lambda: len(told) > last_told)  # noqa: B023
        answers = {}
        for progress in generator(ScriptedGrounder(*scripts)).stream([abandoned, request(1), request(2)]):
            told.append(progress)
            answers[progress.request_index] = progress.answer
        for answer, expected in zip([answers[1], answers[2]], alone):
            alike(answer, expected)


def test_an_abandoned_answer_gets_no_view_and_no_mask():
    grounder = ScriptedGrounder(GROUNDED)
    told = []
    for progress in generator(grounder).stream(
        [request(0, in_pieces=False, is_abandoned=lambda: bool(grounder.llm.passes))]
    ):
        told.append(progress)
    assert [progress.done for progress in told] == [True] and not grounder.views and not grounder.decoded


def test_a_prefix_that_was_never_run_is_not_taken_for_one_that_was():
    """The first request goes before its prompt is run; the next one is about the same image."""
    scripts = [GROUNDED, GROUNDED]
    grounder = ScriptedGrounder(*scripts)
    grounder.llm.marks = {0: 15, 1: 15}
    requests = [request(0, prefix=(3, 5), is_abandoned=lambda: True), request(1, prefix=(3, 5))]
    *_, last = generator(grounder, batch_size=1).stream(requests)
    assert last.request_index == 1 and last.answer.spans[0].phrase == "dog"


def test_masks_that_nobody_wants_yet_are_decoded_at_the_end():
    both = {}
    for in_pieces in (True, False):
        grounder = ScriptedGrounder([*GROUNDED, 10, *GROUNDED])
        *early, last = generator(grounder).stream([request(0, in_pieces=in_pieces)])
        both[in_pieces] = last.answer
        assert grounder.decoded == ([1, 1, 1, 1] if in_pieces else [1, 2, 1])
    alike(both[True], both[False])
    np.testing.assert_array_equal(both[True].spans[1].mask, both[False].spans[1].mask)


def test_news_may_come_less_often_and_add_up_all_the_same():
    scripts = [[10] * 20, [*[11] * 6, *GROUNDED], [*[11] * 9, *GROUNDED]]
    news = list(generator(ScriptedGrounder(*scripts)).stream([request(0), request(1), request(2)]))
    grounder = ScriptedGrounder(*scripts)
    rare = list(generator(grounder).stream([request(0), request(1), request(2)], pause=1000))
    assert len(rare) < len(news) / 2 and max(grounder.decoded) > 1, "masks of several answers were decoded together"
    for index in range(3):
        own, others = ([one for one in told if one.request_index == index] for told in (rare, news))
        assert "".join(one.piece for one in own) == own[-1].answer.text and [one.done for one in own].count(True) == 1
        alike(own[-1].answer, others[-1].answer)
