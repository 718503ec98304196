"""How sure a model was of the words of a phrase, as it wrote them."""

import math

import pytest
import torch
from support.scripted_llm import (
    FORCED,
    GROUNDED,
    SEG,
    SPACE,
    START,
    STOP,
    ScriptedGrounder,
    generator,
    request,
    run,
)
from support.tiny_model import make_batch
from test_real_model import algorithm_1

from lira_plugin.models.generation import read_answer
from lira_plugin.models.generation.decoding import log_probs_of

TOTAL = math.exp(1) + math.exp(0.5) + 30
"""Scores are 1 for the scripted token, 0.5 for "dog" and 0 for the 30 others."""
OTHER = math.exp(1) / TOTAL
DOG = math.exp(0.5) / (math.exp(0.5) + 31)
"""Where "dog" is the scripted token, its score is 0.5 in the end, and those of all others are 0."""


def probs_of(script, prompt_lookup_num_tokens=0, prompt_ids=(), **settings):
    grounder = ScriptedGrounder(script)
    asked = request(0, prompt_ids=prompt_ids, **settings)
    (answer,) = run(grounder, [asked], prompt_lookup_num_tokens=prompt_lookup_num_tokens)
    return [span.phrase_prob for span in answer.spans]


def test_the_probability_of_a_phrase_is_the_product_of_its_tokens_and_its_end():
    """`` dog </p>`` is a space, the word, a space and the end."""
    expected = OTHER**3 * DOG
    assert probs_of(GROUNDED) == pytest.approx([expected])
    script = [START, SPACE, 15, SPACE, STOP, SPACE, SEG, 14, *GROUNDED]
    assert probs_of(script) == pytest.approx([OTHER**4, expected])


def test_what_is_not_said_has_no_probability():
    assert probs_of([11, SEG, 13]) == [None], "no phrase"
    assert probs_of(GROUNDED, forced_ids=tuple(GROUNDED)) == [None], "given"
    assert probs_of(GROUNDED, forced_ids=tuple(GROUNDED[:5])) == [None], "begun by what is given"
    assert probs_of(GROUNDED, forced_ids=tuple(GROUNDED[:2])) == pytest.approx([OTHER**3 * DOG]), "all of it is sampled"


def test_a_phrase_that_is_cut_off_has_that_of_its_tokens():
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], max_new_tokens=4)
    assert answer.raw_text.endswith("<p> dog") and answer.spans[0].phrase_prob == pytest.approx(OTHER * DOG)
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], stop_strings=["dog"])
    assert answer.spans[0].phrase_prob == pytest.approx(OTHER), "of what is left of it"


def test_guessed_tokens_have_the_same():
    script, prompt = [*GROUNDED, 14, *GROUNDED], (SPACE, 10, SPACE, STOP, SPACE, SEG)
    grounder = ScriptedGrounder(script)
    (answer,) = run(grounder, [request(0, prompt_ids=prompt)], prompt_lookup_num_tokens=8)
    assert max(length for _, length in grounder.llm.passes[1:]) > len(FORCED) + 3, "several are run at once"
    assert [span.phrase_prob for span in answer.spans] == probs_of(script)
    wrong = (SPACE, 10, 10, 12)
    assert probs_of(script, 8, wrong) == probs_of(script), "and where guesses are wrong"


def test_news_of_an_answer_has_what_is_known_so_far():
    told = [news.answer.spans[0].phrase_prob for news in generator(ScriptedGrounder(GROUNDED)).stream([request(0)])
            if news.answer.spans]  # fmt: skip
    assert told[0] is None and told[-1] == pytest.approx(OTHER**3 * DOG)


def test_temperature_and_penalty_do_not_change_it():
    assert probs_of(GROUNDED) == pytest.approx([OTHER**3 * DOG])
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], repetition_penalty=1.0001, top_k=1, do_sample=True)
    assert answer.spans[0].phrase_prob == pytest.approx(OTHER**3 * DOG)


def test_scores_that_hold_nan_give_no_probability():
    scores = torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [-torch.inf, 0.0]])
    found = log_probs_of(scores, torch.tensor([1, 1, 0]))
    assert found.tolist() == pytest.approx([1 - math.log(1 + math.e), -math.inf, -math.inf])
    assert log_probs_of(scores[:1].bfloat16(), torch.tensor([1])).dtype == torch.float32


@torch.no_grad()
def test_it_is_that_of_a_pass_over_the_whole_answer(model, prompts):
    """The sequence run at once, and the softmax at each of its positions."""
    compared = 0
    for prompt in prompts:
        if prompt.image_path is None:
            continue
        data = make_batch([prompt], for_generation=True)
        ids, _, _, embeds = algorithm_1(model, data)
        (answer,) = model(**data, mode="predict")
        first = int(model.encode(**data).attention_mask.sum())
        hidden = model.llm(embeds[None], torch.ones(1, len(embeds), dtype=torch.bool)).hidden[0]
        probs = model.llm.logits(hidden).softmax(-1)
        positions, position = [], first
        for index, token in enumerate(ids):
            positions.append(position)
            position += 1
            if token == model.ids.image_id and index + 1 < len(ids):
                position += model.semantic_encoder.tokens_per_tile
        _, phrases = read_answer(ids, model.ids, model.tokenizer.decode)
        for span, phrase in zip(answer.spans, [p for p in phrases if max(p.before, p.after) >= 0], strict=True):
            if not phrase.tokens:
                assert span.phrase_prob is None
                continue
            expected = math.prod(float(probs[positions[index] - 1, ids[index]]) for index in phrase.tokens)
            assert span.phrase_prob == pytest.approx(expected, rel=1e-3, abs=1e-12)
            compared += 1
    assert compared >= 2
