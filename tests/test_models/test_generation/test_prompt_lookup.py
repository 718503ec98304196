"""Guessed tokens change how many passes an answer takes, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_llm import (
    END,
    FORCED,
    GROUNDED,
    SEG,
    SPACE,
    STOP,
    VIEW,
    VIEW_LENGTH,
    ScriptedGrounder,
    column,
    generator,
    request,
    run,
)
from test_engine import SCRIPTS

from lira_plugin.models.generation import Decoding
from lira_plugin.models.generation.decoding import TokenChooser
from lira_plugin.models.generation.prompt_lookup import NoLookup, PromptLookup, trim_proposals
from lira_plugin.models.generation.state import AnswerState

TEXT = [11, 10, 12, 14, 15, 13]


def both(scripts, prompts, **settings):
    """Answers and passes with guesses, and without."""
    results = []
    for most in (8, 0):
        grounder = ScriptedGrounder(*scripts)
        requests = [request(number, prompt_ids=tuple(prompt)) for number, prompt in enumerate(prompts)]
        answers = run(grounder, requests, prompt_lookup_num_tokens=most, **settings)
        results.append((answers, grounder.llm.passes))
    return results


def assert_same(answers, others):
    for answer, other in zip(answers, others, strict=True):
        assert (answer.raw_text, answer.text, answer.finished) == (other.raw_text, other.text, other.finished)
        assert len(answer.spans) == len(other.spans)
        for span, expected in zip(answer.spans, other.spans):
            np.testing.assert_array_equal(span.mask, expected.mask)
            np.testing.assert_array_equal(span.coarse_mask, expected.coarse_mask)


def test_words_of_the_prompt_are_read_several_in_one_pass():
    (answers, passes), (others, single) = both([TEXT], [TEXT])
    assert_same(answers, others)
    assert passes == [(1, 2), (1, 3), (1, 3)], (
        "the prompt, the first word with two guesses, and then with all that are left"
    )
    assert len(single) == 1 + len(TEXT)


def test_a_wrong_guess_costs_its_position_only():
    (answers, passes), (others, _) = both([TEXT], [[11, 10, 10]])
    assert_same(answers, others)
    assert passes[1] == (1, 3), "the first word and two guesses, of which one is right"
    assert len(passes) == 2 + 4, "the word behind the right one was chosen on the way; the rest one by one"


@pytest.mark.parametrize(
    ("counts", "most"), [([], 0), ([0, 0], 0), ([5], 5), ([5, 0], 5), ([5, 0, 0], 0), ([8, 1, 0], 2), ([8, 2, 2, 2], 6)]
)
def test_as_many_guesses_are_run_as_fill_half_of_what_they_add(counts, most):
    proposals = [list(range(count)) for count in counts]
    assert trim_proposals(proposals) == [tokens[:most] for tokens in proposals]


def test_a_guess_for_one_row_is_not_run_where_most_have_none():
    scripts = [TEXT, [10, 12, 14, 15, 10], [12, 14, 10, 15, 11]]
    (answers, passes), (others, single) = both(scripts, [TEXT, [], []])
    assert_same(answers, others)
    assert passes[: len(single) - 1] == single[:-1], "as without guesses, while there are three"


def test_a_guessed_seg_has_its_state_and_mask():
    scripts = [[11, SEG, 13], GROUNDED]
    (answers, passes), (others, single) = both(scripts, [[11, SEG, 13], [10, SPACE, STOP, SPACE, SEG, 13]])
    assert_same(answers, others)
    np.testing.assert_array_equal(answers[0].spans[0].mask, column(1))
    np.testing.assert_array_equal(answers[1].spans[0].mask, column(9))
    assert len(passes) < len(single)


def test_an_answer_learns_from_itself():
    """The frame of its second phrase is read as that of its first was."""
    script = [*GROUNDED[:-1], 14, *GROUNDED]
    (answers, passes), (others, single) = both([script], [()], max_new_tokens=40)
    assert_same(answers, others)
    assert len(passes) < len(single)


def test_an_answer_depends_on_its_own_request_alone():
    """Its passes are the same whatever was answered before and beside it."""
    grounder = ScriptedGrounder(GROUNDED, TEXT)
    generate = generator(grounder, prompt_lookup_num_tokens=8)
    requests = [request(0, prompt_ids=(10, SPACE, STOP)), request(1, prompt_ids=tuple(TEXT))]
    passes = []
    for asked in ([requests[0]], [requests[1]], [requests[0]]):
        grounder.llm.passes.clear()
        generate(asked)
        passes.append(list(grounder.llm.passes))
    assert passes[0] == passes[2]


@pytest.mark.parametrize("limit", range(1, 9))
def test_the_limit_holds_inside_of_guesses(limit):
    for script in (TEXT, [11, SEG, 10, SEG, 13], GROUNDED):
        (answers, passes), (others, single) = both([script], [script], max_new_tokens=limit)
        assert_same(answers, others)
        assert all(new <= 1 + VIEW_LENGTH + len(FORCED) + limit for _, new in passes), "none beyond the limit"
        assert limit < 4 or script is GROUNDED or len(passes) < len(single)


def test_a_stop_string_ends_inside_of_guesses():
    (answers, passes), (others, single) = both([[11, SEG, 10, 12, 13]], [[11, SEG, 10, 12, 13]], stop_strings=("og",))
    assert_same(answers, others)
    assert len(passes) < len(single)
    assert answers[0].raw_text == "A <seg>d"


@pytest.mark.parametrize("chosen", [{"do_sample": True, "top_k": 1}, {"repetition_penalty": 1.5}])
def test_nothing_is_guessed_where_the_most_probable_token_need_not_be_taken(chosen):
    (answers, passes), (others, single) = both([TEXT], [TEXT], **chosen)
    assert_same(answers, others)
    assert passes == single


def test_without_ilvc_a_guess_is_checked_without_views_too():
    scripts = [[11, SEG, VIEW, 13]]
    (answers, passes), (others, single) = both(scripts, [[11, SEG, 10, 13]], ilvc=False)
    assert_same(answers, others)
    assert len(passes) < len(single), "the view is asked for at a guessed position"


tokens = st.lists(st.sampled_from([*FORCED, SEG, VIEW, STOP, 10, 11, 12, 13]), max_size=12)
asked = st.fixed_dictionaries(
    {
        "prompt_ids": tokens.map(tuple),
        "image": st.booleans(),
        "forced_ids": st.sampled_from([(), (), (11, 10), (SEG, VIEW, *FORCED)]),
        "decoding": st.sampled_from([{}, {}, {"ilvc": False}, {"stop_strings": ("gA",)}, {"repetition_penalty": 1.1}]),
    }
)


@pytest.mark.slow
@given(st.lists(st.tuples(tokens, asked), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 20))
def test_any_requests_get_the_answers_without_guesses(pairs, batch_size, limit):
    results = []
    for most in (8, 0):
        requests = [
            request(number, **own | {"decoding": Decoding(limit, **own["decoding"])})
            for number, (_, own) in enumerate(pairs)
        ]
        grounder = ScriptedGrounder(*(list(own["forced_ids"]) + script for script, own in pairs))
        results.append(run(grounder, requests, batch_size=batch_size, prompt_lookup_num_tokens=most))
    assert_same(*results)


@pytest.mark.parametrize("most", [1, 3, 8])
def test_all_scripts_at_once(most):
    requests = [request(number, prompt_ids=tuple(SCRIPTS[-1 - number])) for number in range(len(SCRIPTS))]
    others = run(ScriptedGrounder(*SCRIPTS), requests, prompt_lookup_num_tokens=0)
    assert_same(run(ScriptedGrounder(*SCRIPTS), requests, prompt_lookup_num_tokens=most), others)


def test_pieces_of_a_stream_with_guesses_add_up():
    requests = [request(number, prompt_ids=tuple(script)) for number, script in enumerate(SCRIPTS)]
    news = list(generator(ScriptedGrounder(*SCRIPTS), prompt_lookup_num_tokens=8).stream(requests))
    answers = run(ScriptedGrounder(*SCRIPTS), requests)
    for number, answer in enumerate(answers):
        own = [progress for progress in news if progress.request_index == number]
        assert "".join(progress.piece for progress in own) == answer.text and own[-1].done
        assert_same([own[-1].answer], [answer])


def state_of(prompt_ids, ids=(), limit=20, **settings):
    decoding = Decoding(max_new_tokens=limit, **settings)
    asked = request(0, prompt_ids=tuple(prompt_ids))
    return AnswerState(asked, 0, decoding, TokenChooser(decoding, 0), 0, asked.embeddings, ids=list(ids))


@pytest.mark.parametrize(
    ("prompt_ids", "ids", "guesses"),
    [
        ([1, 2, 5, 8, 2, 6], [1, 2], [5, 8]),
        ([4, 2, 5, 8, 2, 6], [9, 2], [6]),
        ([1, 2, END, 7], [1, 2], []),
        ([1, 2, 1, 2], [1], [2, 1]),
        ([1, 2], [], []),
        ([], [7, 8, 9, 7, 8], [9, 7]),
        ([7, 8, 5], [7, 8, 9, 7, 8], [5]),
    ],
    ids=["a pair", "one token", "never the end", "from its guesses on", "no answer yet", "the answer itself", "prompt first"],
)  # fmt: skip
def test_what_followed_before_is_guessed(prompt_ids, ids, guesses):
    assert PromptLookup(8, blocked_ids=[END]).propose(state_of(prompt_ids, ids)) == guesses


def test_guesses_grow_where_the_first_one_is_right_and_shrink_where_it_is_wrong():
    lookup, state = PromptLookup(8, blocked_ids=[]), state_of(range(30), [1])
    counts = []
    for right in (True, True, True, False, False, False, False, True):
        state.proposed = lookup.propose(state)
        counts.append(len(state.proposed))
        lookup.accept(state, [state.ids[-1] + 1 if right else 31, *[0] * len(state.proposed)])
    assert counts == [2, 4, 8, 8, 4, 2, 1, 0]
    assert len(lookup.propose(state)) == 1, "a guess that was not run was right"


def test_tokens_hold_up_to_the_first_that_was_not_guessed():
    state = state_of([])
    state.proposed = [5, 6, 7]
    for lookup in (PromptLookup(8, []), NoLookup()):
        count = 1 if isinstance(lookup, NoLookup) else 3
        assert lookup.accept(state, [5, 6, 9, 8]) == [5, 6, 9][:count]
    assert PromptLookup(8, []).accept(state, [5, 6, 7, 8]) == [5, 6, 7, 8]
    assert NoLookup().propose(state) == []


def test_the_memory_of_an_answer_ends_with_it():
    lookup, state = PromptLookup(8, []), state_of([1, 2, 3], [1])
    lookup.propose(state)
    assert len(lookup._memories) == 1
    del state
    assert not lookup._memories
