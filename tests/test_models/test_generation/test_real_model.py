"""Algorithm 1 with a real, tiny LIRA."""

import numpy as np
import pytest
import torch
from scripted import LIMIT, alike
from tiny import TILE, make_batch, text_record

from lira_plugin.models.generation import read_answer
from lira_plugin.models.interleaved_llm import seg_positions
from lira_plugin.structures import IGNORE_INDEX, region_view


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_batch_gives_what_its_samples_give_one_by_one(model, prompts, batch_size):
    model.generation["batch_size"] = batch_size
    answers = model(**make_batch(prompts, for_generation=True), mode="predict")
    assert len(answers) == len(prompts)
    assert sum(len(answer.spans) for answer in answers) >= 3, "else there is nothing to compare"
    assert any("<image_id>" in answer.raw_text for answer in answers)
    assert len({answer.raw_text for answer in answers}) > 2
    for prompt, answer in zip(prompts, answers):
        (alone,) = model(**make_batch([prompt], for_generation=True), mode="predict")
        alike(answer, alone)
    for prompt, answer in zip(prompts, answers):
        assert all(span.mask.shape == prompt.size for span in answer.spans)


def algorithm_1(model, data):
    """Algorithm 1 for one sample, the sequence run again for every token: ids, seg states, masks by place, rows."""
    (sample,) = data["data_samples"]
    encoded = model.encode(**data)
    rows = encoded.embeddings[0][encoded.attention_mask[0]]
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    forced = model.tokenizer(" <p>", add_special_tokens=False)["input_ids"]
    ids, states, masks, chosen = [], [], {}, 0

    def hidden():
        return model.llm(rows[None], torch.ones(1, len(rows), dtype=torch.bool)).hidden[0, -1]

    def append(token):
        ids.append(token)
        return torch.cat([rows, model.llm.embed(torch.tensor([token]))])

    while chosen < LIMIT:
        token = int(model.llm.logits(hidden()[None])[0].argmax())
        chosen += 1
        if token == end:
            break
        rows = append(token)
        if token == model.ids.seg:
            states.append(hidden())
            segmenter = model.pixel_encoder.segmenter
            pyramid = encoded.features.pyramid
            logits = model.mask_decoder(states[-1][None], torch.tensor([0]), pyramid, segmenter)[-1]
            masks[len(ids) - 1] = sample.letterbox.invert_logits(logits)[0].numpy() > 0
        if token == model.ids.image_id and chosen < LIMIT:
            mask = masks[max(masks)] if masks else np.ones(sample.image.shape[:2], bool)
            view = torch.from_numpy(region_view(sample.image, mask, TILE).copy()).permute(2, 0, 1)[None]
            rows = torch.cat([rows, model.semantic_encoder(view)[0]])
            for token in forced:
                rows = append(token)
    return ids, states, masks, rows


@torch.no_grad()
def test_generation_equals_algorithm_1_without_batch_and_cache(model, prompts):
    segs = views = 0
    for prompt in prompts:
        if prompt.image_path is None:
            continue
        data = make_batch([prompt], for_generation=True)
        ids, states, masks, _ = algorithm_1(model, data)
        seen = []
        handle = model.mask_decoder.register_forward_hook(lambda m, args, output, seen=seen: seen.append(args[0]))
        (answer,) = model(**data, mode="predict")
        handle.remove()
        assert answer.raw_text == model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if states:
            torch.testing.assert_close(torch.cat(seen), torch.stack(states), atol=1e-3, rtol=1e-3)
        text, places = read_answer(ids, model.ids, model.tokenizer.decode)
        assert answer.text == text
        for span, place in zip(answer.spans, [p for p in places if max(p.before, p.after) >= 0], strict=True):
            refined = masks[place.after if place.after >= 0 else place.before]
            assert (span.mask != refined).mean() < 1e-3
            if place.before >= 0:
                assert (span.coarse_mask != masks[place.before]).mean() < 1e-3
        segs, views = segs + len(states), views + ids.count(model.ids.image_id)
    assert segs >= 3 and views >= 2, "else there is nothing to compare"


@torch.no_grad()
def test_seg_states_of_generation_are_those_of_a_teacher_forced_pass(model, prompts):
    """The rows that training would have for the same answer: states are read at the same places."""
    compared = 0
    for prompt in prompts:
        if prompt.image_path is None:
            continue
        data = make_batch([prompt], for_generation=True)
        ids, _, _, rows = algorithm_1(model, data)
        encoded = model.encode(**data)
        prompt_rows = int(encoded.attention_mask.sum())
        labels = [IGNORE_INDEX] * prompt_rows
        viewed = 0
        for place, token in enumerate(ids):
            labels.append(token)
            if token == model.ids.image_id and place + 1 < len(ids):
                labels += [IGNORE_INDEX] * model.semantic_encoder.tokens_per_tile
                viewed += 1
        assert len(labels) == len(rows)
        labels = torch.tensor(labels)[None]
        hidden = model.llm(rows[None], torch.ones_like(labels, dtype=torch.bool)).hidden
        expected = hidden[seg_positions(labels, model.ids.seg)]
        seen = []
        handle = model.mask_decoder.register_forward_hook(lambda m, args, output, seen=seen: seen.append(args[0]))
        model(**data, mode="predict")
        handle.remove()
        states = torch.cat(seen) if seen else expected[:0]
        torch.testing.assert_close(states, expected, atol=1e-3, rtol=1e-3)
        compared += len(expected)
    assert compared >= 3


@torch.no_grad()
def test_without_ilvc_no_view_is_asked_for(model, prompts):
    model.generation["ilvc"] = False
    answers = model(**make_batch(prompts, for_generation=True), mode="predict")
    assert not any("<image_id>" in answer.raw_text for answer in answers)


@torch.no_grad()
def test_a_request_of_text_only_is_answered(model):
    (answer,) = model(**make_batch([text_record("a")], for_generation=True), mode="predict")
    assert answer.raw_text and answer.spans == ()


@torch.no_grad()
def test_prediction_leaves_the_model_as_it_was(model, prompts):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = dict(model.generation)
    data = make_batch(prompts[:2], for_generation=True)
    first, second = (model(**data, mode="predict") for _ in range(2))
    for answer, other in zip(first, second):
        alike(answer, other)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.generation == settings
