"""How tokens are chosen, against transformers' own ``generate``, and where answers stop."""

import numpy as np
import pytest
import torch
import transformers
from support.scripted_llm import GROUNDED, ScriptedGrounder, column, request, run
from support.tiny_model import tiny_llama, tiny_llm

from lira_plugin.models import InterleavedLLM
from lira_plugin.models.generation import Decoding, InterleavedGenerator, Request
from lira_plugin.models.generation.decoding import TokenChooser
from lira_plugin.tokens import SpecialTokenIds

VOCABULARY, END = 40, 3
SPECIAL = SpecialTokenIds(seg=36, image_id=37, phrase_start=38, phrase_end=39)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0.0}, "do_sample=False"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"stop_strings": "."}, "stop_strings"),
        ({"stop_strings": ("a", "")}, "stop_strings"),
        ({"stop_strings": (5,)}, "stop_strings"),
    ],
)
def test_settings_out_of_range_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**settings)


def test_no_token_is_drawn_by_scores_that_hold_nan():
    with pytest.raises(FloatingPointError, match="weights of the model are not finite"):
        TokenChooser(Decoding(do_sample=True), 0)(torch.full((5,), torch.nan), [])


def test_the_least_that_is_allowed():
    decoding = Decoding(max_new_tokens=1, temperature=1e-3, top_p=1e-3, repetition_penalty=0.5, stop_strings=["a"])
    assert decoding.stop_strings == ("a",) and hash(decoding) is not None
    assert len(Decoding().processors()) == 0, "nothing changes the scores by default"


# --- against transformers ---------------------------------------------------------------------------------------------


@pytest.fixture
def llm():
    llm = tiny_llm_of(tiny_llama(vocab_size=VOCABULARY, initializer_range=0.3))
    llm.causal_lm.generation_config.pad_token_id = 0
    return llm


def tiny_llm_of(model):
    llm = tiny_llm()
    llm.model = model
    model.config.use_cache = False
    return llm.eval()


class TextOnly:
    def __init__(self, llm):
        self.llm = llm


def ours(llm, prompts, batch_size=32, **settings):
    """Ids of the answers; none of the special tokens means anything without an image."""
    generator = InterleavedGenerator(
        TextOnly(llm), SPECIAL, END, [], lambda ids: " ".join(map(str, ids)), Decoding(**settings), batch_size
    )
    answers = generator(Request(llm.embed(prompt).detach(), None, None, None) for prompt in prompts)
    return [([int(word) for word in answer.raw_text.split()], answer.finished) for answer in answers]


def theirs(llm, prompt, **settings):
    output = llm.causal_lm.generate(
        inputs_embeds=llm.embed(prompt)[None].detach(),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        eos_token_id=END,
        use_cache=True,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        **settings,
    )
    return output.sequences[0].tolist(), output


def prompts_of(number):
    return [torch.randint(4, 36, (3 + place % 4,)) for place in range(number)]


@pytest.mark.parametrize("penalty", [1.0, 1.3, 3.0, 0.7])
def test_greedy_answers_are_those_of_generate(llm, penalty):
    prompts = prompts_of(6)
    found = ours(llm, prompts, max_new_tokens=15, repetition_penalty=penalty)
    for prompt, (ids, finished) in zip(prompts, found):
        expected, _ = theirs(llm, prompt, max_new_tokens=15, do_sample=False, repetition_penalty=penalty)
        assert ids == [token for token in expected if token != END]
        assert finished == (END in expected)
    assert len({tuple(ids) for ids, _ in found}) > 3


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Qwen2", {"num_key_value_heads": 2}),
        ("Mistral", {"num_key_value_heads": 2, "sliding_window": None}),
        ("Phi", {}),
        ("GPTNeoX", {}),
        ("Gemma", {"head_dim": 8, "num_key_value_heads": 1}),
    ],
)
def test_greedy_answers_of_other_causal_lms_are_those_of_generate(name, settings):
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=VOCABULARY, initializer_range=0.3, **SMALL, **special, **settings
    )
    model = InterleavedLLM(transformers.AutoModelForCausalLM.from_config(config)).eval()
    prompts = prompts_of(5)
    found = ours(model, prompts, max_new_tokens=10)
    for prompt, (ids, _) in zip(prompts, found, strict=True):
        expected, _ = theirs(model, prompt, max_new_tokens=10, do_sample=False)
        assert ids == [token for token in expected if token != END]
    assert len({tuple(ids) for ids, _ in found}) > 2


def test_flash_attention_of_other_causal_lms_is_for_training_alone():
    config = transformers.GPTNeoXConfig(vocab_size=VOCABULARY, **SMALL)
    model = InterleavedLLM(transformers.AutoModelForCausalLM.from_config(config)).eval()
    model.causal_lm.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="GPTNeoXModel.*attn_implementation='sdpa'"):
        ours(model, prompts_of(1))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Bloom", {"hidden_size": 16, "n_layer": 1, "n_head": 2}, "BloomModel takes no position_ids"),
        ("Gemma2", {**SMALL, "head_dim": 8}, "final_logit_softcapping"),
        ("Cohere", {**SMALL, "logit_scale": 0.5}, "logit_scale"),
        ("Mistral", {**SMALL, "num_key_value_heads": 2}, "sliding_window=None"),
    ],
)
def test_causal_lms_that_would_give_something_else_are_refused(name, settings, message):
    config = getattr(transformers, f"{name}Config")(vocab_size=VOCABULARY, **settings)
    with pytest.raises(ValueError, match=message):
        InterleavedLLM(transformers.AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.6},
        {"temperature": 1.5, "top_k": 9, "top_p": 0.8, "repetition_penalty": 1.4},
    ],
)
def test_processed_scores_are_those_of_generate(llm, settings):
    """Whatever is drawn, it is drawn from the same distribution."""
    ids, output = theirs(llm, prompts_of(1)[0], do_sample=True, max_new_tokens=12, **{"top_k": 0, **settings})
    processors = Decoding(do_sample=True, **settings).processors()
    for place, (raw, expected) in enumerate(zip(output.logits, output.scores)):
        scores = processors(torch.tensor([ids[:place]], dtype=torch.long), raw.clone())
        torch.testing.assert_close(scores, expected)


def test_draws_follow_the_distribution():
    scores = torch.tensor([0.0, 1.0, 2.0, -torch.inf, -1.0])
    choose = TokenChooser(Decoding(do_sample=True, temperature=0.8), 0)
    count = 4000
    drawn = torch.bincount(torch.tensor([choose(scores, []) for _ in range(count)]), minlength=5)
    expected = (scores / 0.8).softmax(-1)
    spread = (count * expected * (1 - expected)).sqrt()
    assert ((drawn - count * expected).abs() <= 4 * spread).all()


def test_draws_are_reproducible_and_independent_of_the_batch(llm):
    prompts = prompts_of(3) * 2
    settings = {"do_sample": True, "temperature": 1.5, "max_new_tokens": 12}
    first = ours(llm, prompts, **settings)
    assert first == ours(llm, prompts, **settings)
    assert first == ours(llm, prompts, batch_size=2, **settings) == ours(llm, prompts, batch_size=1, **settings)
    assert first != ours(llm, prompts, seed=1, **settings)
    assert first[0] != first[3], "equal prompts draw by themselves"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert first == ours(llm, prompts, **settings), "the global state has no part in it"


# --- stop strings -----------------------------------------------------------------------------------------------------


SENTENCE = [11, 10, 12, 13, 14, 15]
"""``A dog runs. and cat``."""


@pytest.mark.parametrize(
    ("stop_strings", "text"),
    [
        (("og r",), "A d"),
        (("dog",), "A "),
        (("A",), ""),
        (("runs", "dog"), "A "),
        (("s. a", "runs"), "A dog "),
        (("dogs",), "A dog runs. and cat"),
        (("cat",), "A dog runs. and "),
    ],
)
def test_an_answer_ends_in_front_of_a_stop_string(stop_strings, text):
    (answer,) = run(ScriptedGrounder(SENTENCE), [request(0)], stop_strings=stop_strings)
    assert (answer.text, answer.raw_text, answer.finished) == (text, text, True)


def test_nothing_is_run_after_a_stop_string():
    grounder = ScriptedGrounder(SENTENCE)
    run(grounder, [request(0)], stop_strings=("og r",))
    assert len(grounder.llm.passes) == 3


def test_a_stop_string_in_the_last_token_allowed():
    (answer,) = run(ScriptedGrounder(SENTENCE), [request(0)], stop_strings=("runs",), max_new_tokens=3)
    assert answer.text == "A dog " and answer.finished


@pytest.mark.parametrize(
    ("stop", "raw", "text", "refined"),
    [
        ("<image_id>", "<seg>", "", False),
        ("image", "<seg>", "", False),
        ("<p>", "<seg><image_id> ", "", False),
        ("dog", "<seg><image_id> <p> ", "", False),
        ("g <", "<seg><image_id> <p> do", "do", False),
        ("</p> <seg>", "<seg><image_id> <p> dog ", "dog", False),
        ("<seg>.", "<seg><image_id> <p> dog </p> ", "dog", False),
        (".", "<seg><image_id> <p> dog </p> <seg>", "dog", True),
    ],
)
def test_special_tokens_are_searched_too(stop, raw, text, refined):
    """``<image_id>`` as stop string is RefSeg in the reference's manner (``refcoco_lira.py``)."""
    grounder = ScriptedGrounder(GROUNDED)
    (answer,) = run(grounder, [request(0)], stop_strings=(stop,))
    assert (answer.raw_text, answer.text) == (raw, text) and answer.finished
    (span,) = answer.spans
    assert (span.phrase, span.refined) == (text, refined)
    np.testing.assert_array_equal(span.coarse_mask, column(0))
    np.testing.assert_array_equal(span.mask, column(9 if refined else 0))
    assert len(grounder.views) == (stop not in ("<image_id>", "image"))


def test_text_and_spans_end_where_the_answer_does():
    """The last token holds more than the stop string, and the text holds it nowhere without the special tokens."""
    (answer,) = run(ScriptedGrounder([*GROUNDED[:-1], 14]), [request(0)], stop_strings=("<seg> an",))
    assert (answer.text, answer.raw_text) == ("dog", "<seg><image_id> <p> dog </p> ")
    assert [span.refined for span in answer.spans] == [False]


def test_what_is_forced_at_the_beginning_is_not_searched():
    forced = (11, 10)
    (answer,) = run(ScriptedGrounder(SENTENCE), [request(0, forced_ids=forced)], stop_strings=("dog", "g runs"))
    assert answer.text == "A do", "but what reaches beyond it is"
    (answer,) = run(ScriptedGrounder(SENTENCE), [request(0, forced_ids=forced)], stop_strings=("dog",))
    assert answer.text == "A dog runs. and cat"
