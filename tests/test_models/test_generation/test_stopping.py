"""When an answer is over."""

import pytest
from support.scripted_llm import END, IDS, SEG, VIEW, decode, request

from lira_plugin.models.generation import Decoding
from lira_plugin.models.generation.decoding import TokenChooser
from lira_plugin.models.generation.state import AnswerState, Phase
from lira_plugin.models.generation.stopping import StopRule

RULE = StopRule(IDS, END, decode)


def write(tokens, forced=(), sampled=True, closed=False, **settings):
    """Write tokens one by one, and ask the rule after each, until the answer is over."""
    decoding = Decoding(**settings)
    asked = request(0, forced_ids=tuple(forced), closed=closed)
    state = AnswerState(asked, 0, decoding, TokenChooser(decoding, 0), 0, asked.embeddings)
    state.forced_tokens = list(forced)
    for token in tokens:
        state.ids.append(token)
        state.num_sampled += sampled
        if state.forced_tokens:
            state.forced_tokens.pop(0)
        RULE(state)
        if state.phase is not Phase.SAMPLING:
            break
    return state


def outcome(state):
    return state.phase, state.finished, state.ids, state.partial_text


def test_an_answer_goes_on():
    assert outcome(write([11, SEG, 10])) == (Phase.SAMPLING, False, [11, SEG, 10], "")


def test_the_end_token_is_no_part_of_the_answer():
    assert outcome(write([11, 10, END, 12])) == (Phase.DONE, True, [11, 10], "")


@pytest.mark.parametrize(
    ("stop", "ids", "rest"),
    [("dog", [11], ""), ("og", [11], "d"), (" d", [], "A"), ("seg", [11, 10], ""), ("cat", [11, 10, SEG], "")],
)
def test_a_stop_string_cuts_the_answer_in_front_of_it(stop, ids, rest):
    """Within a special token nothing of it is kept."""
    state = write([11, 10, SEG, 15], stop_strings=(stop,))
    assert outcome(state) == (Phase.DONE, True, ids, rest)


def test_the_first_stop_string_in_the_text_counts():
    assert write([11, 10], stop_strings=("dog", "A")).ids == []


def test_what_is_forced_is_not_searched_for_stop_strings():
    assert write([11, 10], forced=[11, 10], sampled=False, stop_strings=("dog",)).phase is Phase.SAMPLING
    assert write([11, 10, 10], forced=[11], stop_strings=("dog",)).ids == [11]


def test_the_limit_counts_sampled_tokens():
    assert outcome(write([11, 10, 12], max_new_tokens=2)) == (Phase.DONE, False, [11, 10], "")
    assert write([11, 10, 12], sampled=False, max_new_tokens=2).phase is Phase.SAMPLING
    assert outcome(write([11, 10, END], max_new_tokens=3)) == (Phase.DONE, True, [11, 10], "")


def test_a_seg_at_the_limit_is_run_for_its_mask():
    assert outcome(write([11, SEG], max_new_tokens=2)) == (Phase.CLOSING, False, [11, SEG], "")


def test_a_closed_answer_ends_with_its_last_token_once_that_is_run():
    forced = [SEG, VIEW, 10, SEG]
    assert write(forced[:-1], forced, closed=True, sampled=False).phase is Phase.SAMPLING
    assert outcome(write(forced, forced, closed=True, sampled=False)) == (Phase.CLOSING, True, forced, "")
