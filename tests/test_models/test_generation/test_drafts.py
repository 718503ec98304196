"""Guessed tokens change how many passes an answer takes, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import (
    END,
    FORCED,
    GROUNDED,
    SEG,
    SPACE,
    STOP,
    VIEW,
    VIEW_ROWS,
    ScriptedGrounder,
    column,
    generator,
    request,
    run,
)
from test_engine import SCRIPTS

from lira_plugin.models.generation import Decoding
from lira_plugin.models.generation import drafts as drafts_module
from lira_plugin.models.generation.drafts import Drafts, PromptLookup, worthwhile

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


def test_guesses_that_go_wrong_are_given_up_until_they_would_be_right():
    """After a 10 the prompt has another 10. It is guessed twice, then only looked at, and run again after one was right."""
    wrong = [10, 11, 10, 12, 10, 14, 10, 15, 11, 10, 15, 10, 12, 14]
    (answers, passes), (others, single) = both([[*wrong, 10, 10, 11, 10, 13]], [[10, 10]], max_new_tokens=40)
    assert_same(answers, others)
    guessed = [number for number, (_, new) in enumerate(passes[1:]) if new > 1]
    tens = [place for place, token in enumerate([*wrong, 10, 10, 11, 10]) if token == 10]
    assert guessed[:2] == tens[:2] and len(guessed) == 3
    assert guessed[2] == len(wrong) + 1, "the prompt was right about the 10 before"


@pytest.mark.parametrize(
    ("counts", "most"), [([], 0), ([0, 0], 0), ([5], 5), ([5, 0], 5), ([5, 0, 0], 0), ([8, 1, 0], 2), ([8, 2, 2, 2], 6)]
)
def test_as_many_guesses_are_run_as_fill_half_of_what_they_add(counts, most):
    assert worthwhile(counts) == most


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


def test_answers_learn_from_one_another():
    scripts = [GROUNDED] * 8
    (answers, passes), (others, single) = both(scripts, [()] * 8, batch_size=2)
    assert_same(answers, others)
    assert len(passes) < 0.6 * len(single)


@pytest.mark.parametrize("limit", range(1, 9))
def test_the_limit_holds_inside_of_guesses(limit):
    for script in (TEXT, [11, SEG, 10, SEG, 13], GROUNDED):
        (answers, passes), (others, single) = both([script], [script], max_new_tokens=limit)
        assert_same(answers, others)
        assert all(new <= 1 + VIEW_ROWS + len(FORCED) + limit for _, new in passes), "none beyond the limit"
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


@given(st.lists(st.tuples(tokens, asked), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 20))
def test_any_requests_get_the_answers_without_guesses(pairs, batch_size, limit):
    results = []
    for most in (8, 0):
        requests = [
            request(number, **own | {"decoding": Decoding(limit, prompt_lookup_num_tokens=most, **own["decoding"])})
            for number, (_, own) in enumerate(pairs)
        ]
        grounder = ScriptedGrounder(*(list(own["forced_ids"]) + script for script, own in pairs))
        results.append(run(grounder, requests, batch_size=batch_size))
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
        own = [progress for progress in news if progress.number == number]
        assert "".join(progress.piece for progress in own) == answer.text and own[-1].done
        assert_same([own[-1].answer], [answer])


def test_what_followed_twice_is_guessed():
    drafts, prompt = Drafts(), PromptLookup(())
    drafts.learn([1, 2], 3)
    assert drafts.guess(prompt, [9, 1, 2], 4) == [], "once may be chance"
    drafts.learn([7, 1, 2], 3)
    assert drafts.guess(prompt, [9, 1, 2], 4) == [3]
    drafts.learn([1, 2], 4)
    assert drafts.guess(prompt, [9, 1, 2], 4) == [], "what varies is not guessed"


def test_drafts_do_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(drafts_module, "_MOST_PAIRS", 10)
    drafts = Drafts()
    for token in range(95):
        drafts.learn([token, token + 1], token + 2)
        assert 1 <= len(drafts.seen) <= 10
    for _ in range(2):
        drafts.learn([1, 2], 3)
    assert drafts.guess(PromptLookup(()), [1, 2], 1) == [3]


def test_the_prompt_goes_first_and_the_last_time_counts():
    drafts = Drafts()
    for _ in range(2):
        drafts.learn([1, 2], 3)
    assert drafts.guess(PromptLookup([1, 2, 5, 8, 2, 6]), [1, 2], 1) == [5]
    assert drafts.guess(PromptLookup([4, 2, 5, 8, 2, 6]), [1, 2], 1) == [3], "a pair is more than a single token"
    assert drafts.guess(PromptLookup([4, 2, 5, 8, 2, 6]), [9, 2], 1) == [6]
    assert drafts.guess(PromptLookup([1, 2, END, 7]), [1, 2], 5, barred={END}) == []
    assert drafts.guess(PromptLookup([1, 2, END, 7]), [1, 2], 5) == [END, 7]
    assert drafts.guess(PromptLookup([1, 2, 1, 2]), [1], 5) == [2, 1, 2, 1, 2]
    assert drafts.guess(PromptLookup([1, 2]), [], 5) == []


def test_drafts_that_know_earlier_answers_save_passes():
    drafts, answers, passes = Drafts(), [], []
    for known in (Drafts(), drafts, drafts, drafts):
        grounder = ScriptedGrounder(TEXT)
        answers += generator(grounder, prompt_lookup_num_tokens=8, drafts=known)([request(0)])
        passes.append(len(grounder.llm.passes))
    assert_same(answers, [answers[0]] * 4)
    assert passes[0] == passes[1] == 1 + len(TEXT) and passes[3] < passes[0]
