"""Answers that are given, in whole or in part: masks for a given text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.scripted_llm import (
    GROUNDED,
    SEG,
    SPACE,
    START,
    STOP,
    VIEW,
    VIEW_LENGTH,
    ScriptedGrounder,
    alike,
    column,
    request,
    run,
)
from support.tiny_model import make_samples, refer_record, tiny_lira

from lira_plugin.datasets import grounding_collate
from lira_plugin.structures import IGNORE_INDEX, region_view

TEXT = tuple(GROUNDED[:-1])  # <seg><image_id> <p> dog </p> <seg>
PLAIN = (START, SPACE, 10, SPACE, STOP, SPACE, SEG)


def test_a_view_in_the_middle_waits_for_its_mask():
    grounder = ScriptedGrounder([])
    (answer,) = run(grounder, [request(0, forced_ids=TEXT, closed=True)], max_new_tokens=1)
    assert grounder.llm.passes == [(1, 2 + 1), (1, 1 + VIEW_LENGTH + len(TEXT) - 2)], "two passes for all of it"
    assert answer.raw_text == "<seg><image_id> <p> dog </p> <seg>" and answer.text == "dog" and answer.finished
    (((image, mask),),) = grounder.views
    np.testing.assert_array_equal(mask, column(0))
    (span,) = answer.spans
    np.testing.assert_array_equal(span.coarse_mask, column(0))
    np.testing.assert_array_equal(span.mask, column(len(TEXT) - 1))
    assert span.refined


def test_an_answer_without_a_view_takes_one_pass():
    grounder = ScriptedGrounder([])
    (answer,) = run(grounder, [request(0, forced_ids=PLAIN, closed=True)])
    assert grounder.llm.passes == [(1, 2 + len(PLAIN))] and grounder.views == []
    (span,) = answer.spans
    np.testing.assert_array_equal(span.mask, column(len(PLAIN) - 1))
    assert span.coarse_mask is None and span.refined and answer.finished


def test_many_given_answers_take_two_passes_together():
    grounder = ScriptedGrounder(*[[]] * 5)
    answers = run(grounder, [request(number, forced_ids=TEXT, closed=True) for number in range(5)])
    assert [rows for rows, _ in grounder.llm.passes] == [5, 5] and grounder.decoded == [5, 5]
    assert [len(views) for views in grounder.views] == [5]
    assert {answer.text for answer in answers} == {"dog"}


def test_several_views_are_forced_one_after_the_other():
    grounder = ScriptedGrounder([])
    (answer,) = run(grounder, [request(0, forced_ids=(*TEXT, 14, *TEXT), closed=True)])
    assert len(grounder.llm.passes) == 3 and answer.text == "dog and dog"
    np.testing.assert_array_equal(grounder.views[1][0][1], column(len(TEXT) + 1))


def test_the_model_goes_on_after_an_open_beginning():
    script = [15, 15, 12, 13, 14]  # its first two words are not asked for
    (answer,) = run(ScriptedGrounder(script), [request(0, forced_ids=(11, 10))], max_new_tokens=2)
    assert answer.text == "A dog runs." and not answer.finished, "given tokens do not count"


def test_an_open_beginning_may_end_with_a_view():
    """Then the phrase is opened, as after a view that the model asked for."""
    grounder = ScriptedGrounder(GROUNDED)
    (answer,) = run(grounder, [request(0, forced_ids=(SEG, VIEW))])
    assert answer.raw_text == "<seg><image_id> <p> dog </p> <seg>." and len(grounder.views) == 1


def test_a_view_first_of_all_is_of_the_whole_image():
    grounder = ScriptedGrounder([])
    run(grounder, [request(0, forced_ids=TEXT[1:], closed=True)])
    assert grounder.views[0][0][1].all()


def test_given_answers_need_no_image():
    (answer,) = run(ScriptedGrounder([]), [request(0, image=False, forced_ids=TEXT, closed=True)])
    assert answer.raw_text == "<seg><image_id> <p> dog </p> <seg>" and answer.spans == () and answer.finished


def test_given_answers_among_others():
    settings = [{}, {"forced_ids": TEXT, "closed": True}, {"forced_ids": PLAIN}, {}]
    scripts = [GROUNDED, [], [10] * 8, [11, 10]]
    for batch_size in (1, 2, 4):
        requests = [request(number, **own) for number, own in enumerate(settings)]
        answers = run(ScriptedGrounder(*scripts), requests, batch_size=batch_size)
        assert [answer.text for answer in answers] == ["dog.", "dog", "dogdog", "A dog"]


# --- with the real model ----------------------------------------------------------------------------------------------


FORMS = {1.0: "<seg><image_id> <p> cup </p> <seg>", 0.0: "<p> cup </p> <seg>"}


def forced_sample(folder, prob):
    record = refer_record(folder, "a", ["cup"], 40, 64)
    (sample,) = make_samples([record], for_generation=True, prob=prob, forced=True)
    return sample


@torch.no_grad()
@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_masks_are_those_of_a_teacher_forced_pass(model, tmp_path, prob):
    sample = forced_sample(tmp_path, prob)
    data = grounding_collate([sample])
    states = []
    model.mask_decoder.register_forward_pre_hook(lambda m, args: states.append(args[0]))
    (answer,) = model(**data, mode="predict")
    assert answer.raw_text == FORMS[prob] and answer.finished
    (span,) = answer.spans

    encoded = model.encode(**data)
    rows = [encoded.embeddings[0][encoded.attention_mask[0]]]
    places = []
    for token in sample.forced_ids:
        rows.append(model.llm.embed(torch.tensor([token])))
        if token == model.ids.seg:
            places.append(sum(map(len, rows)) - 1)
        if token == model.ids.image_id:
            view = torch.tensor(region_view(sample.image, span.coarse_mask, 32)).permute(2, 0, 1)
            rows.append(model.semantic_encoder(view[None])[0])
    rows = torch.cat(rows)
    hidden = model.llm(rows[None], torch.ones(1, len(rows), dtype=torch.bool)).hidden[0, places]
    torch.testing.assert_close(torch.cat(states), hidden, atol=1e-3, rtol=1e-3)
    features = encoded.features.decoder_memory
    image = torch.zeros(len(hidden), dtype=torch.long)
    logits = model.mask_decoder(hidden, image, features, model.pixel_encoder.segmenter)[-1]
    masks = (sample.letterbox.invert_logits(logits) > 0).numpy()
    assert (span.mask != masks[-1]).mean() < 1e-3
    assert (span.coarse_mask is None) if prob == 0 else (span.coarse_mask != masks[0]).mean() < 1e-3


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_given_tokens_are_those_that_training_shows(tmp_path, prob):
    """The answer of the training sample, up to the full stop and the end."""
    model = tiny_lira()
    (trained,) = make_samples([refer_record(tmp_path, "a", ["cup"], 40, 64)], prob=prob)
    answer = [label for label in trained.labels.tolist() if label != IGNORE_INDEX]
    with torch.no_grad():
        (given,) = model.requests(**grounding_collate([forced_sample(tmp_path, prob)]))
    assert list(given.forced_ids) == answer[:-2] and given.closed


@torch.no_grad()
def test_a_given_beginning_without_a_seg_is_open(model, tmp_path):
    sample = replace(
        forced_sample(tmp_path, 1.0), forced_ids=tuple(model.tokenizer("It is", add_special_tokens=False).input_ids)
    )
    (one,) = model.requests(**grounding_collate([sample]))
    assert not one.closed
    (answer,) = model(**grounding_collate([sample]), mode="predict")
    assert answer.text.startswith("It is") and len(answer.raw_text) > len("It is")


@torch.no_grad()
def test_given_answers_of_many_questions_about_one_image(model, tmp_path):
    """RefSeg as `force_regions` has it: equal one by one, with the image encoded and run once."""
    labels = ["cup", "a longer one", "dog"]
    samples = []
    for label in labels:
        samples += make_samples([refer_record(tmp_path, "a", [label], 40, 64)], for_generation=True, forced=True)
    passes = []
    handle = model.llm.causal_lm.get_decoder().register_forward_pre_hook(lambda m, args: passes.append(1))
    answers = model(**grounding_collate(samples), mode="predict")
    handle.remove()
    assert len(passes) == 3, "the prefix, the questions, the phrases"
    for label, answer, sample in zip(labels, answers, samples):
        (alone,) = model(**grounding_collate([sample]), mode="predict")
        alike(answer, alone)
        assert answer.text == label and answer.spans[0].refined
