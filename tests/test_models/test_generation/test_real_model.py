"""Algorithm 1 with a real, tiny LIRA."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scripted_llm import LIMIT, alike
from support.tiny_model import TILE, make_batch, make_samples, refer_record, text_record, two_image_sample

from lira_plugin.datasets import grounding_collate
from lira_plugin.models.generation import Decoding, read_answer
from lira_plugin.structures import IGNORE_INDEX, region_view
from lira_plugin.tokens import seg_positions


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


@torch.no_grad()
def test_the_two_largest_parts_may_be_of_16_bits_alone(model, prompts):
    """As docs/train.md has it for testing; the other weights stay in fp32."""
    model.llm.bfloat16()
    model.semantic_encoder.bfloat16()
    answers = model(**make_batch(prompts, for_generation=True), mode="predict")
    assert sum(len(answer.spans) for answer in answers) >= 3
    assert {parameter.dtype for parameter in model.sefe.parameters()} == {torch.float32}


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
            decoder_memory = encoded.features.decoder_memory
            logits = model.mask_decoder(states[-1][None], torch.tensor([0]), decoder_memory, segmenter)[-1]
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
def test_guesses_change_the_number_of_passes_only(model, prompts):
    """Where prompts hold the words of their answers, many guesses are right."""
    data = make_batch(prompts, for_generation=True)
    texts, answers, passes = [""] * len(prompts), [], []
    for most in (0, 8):
        runs = []
        handle = model.llm.causal_lm.get_decoder().register_forward_pre_hook(lambda m, args, runs=runs: runs.append(1))
        known = [tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        requests = [
            replace(request, prompt_ids=ids) for request, ids in zip(model.requests(**data), known, strict=True)
        ]
        answers.append(model.generator(prompt_lookup_num_tokens=most)(requests))
        handle.remove()
        passes.append(len(runs))
        texts = [answer.raw_text for answer in answers[0]]
    for answer, other in zip(*answers, strict=True):
        alike(answer, other)
    assert passes[1] < 0.8 * passes[0]


@torch.no_grad()
def test_the_words_of_a_prompt_come_with_its_request(model, prompts):
    for request, prompt in zip(model.requests(**make_batch(prompts, for_generation=True)), prompts, strict=True):
        words = model.tokenizer.decode(request.prompt_ids)
        assert prompt.conversation.turns[-1].question in words
        assert words.rstrip().endswith("assistant") and model.tokenizer.pad_token not in words


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
    generation = dict(model.generation)
    data = make_batch(prompts[:2], for_generation=True)
    first, second = (model(**data, mode="predict") for _ in range(2))
    for answer, other in zip(first, second):
        alike(answer, other)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.generation == generation


# --- everything mixed -------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(model, prompts, tmp_path):
    """A sample of every kind: RefSeg, with history, caption, text, several images, several tiles, given answers."""
    samples = make_samples(prompts, for_generation=True)
    samples += make_samples([refer_record(tmp_path, "a", ["hat"], 40, 64)], for_generation=True, prob=0.0)
    samples += make_samples([refer_record(tmp_path, "w", ["cup"], 30, 90)], for_generation=True, max_tiles=4)
    given = ("<seg><image_id> <p> cup </p> <seg>", "It is")
    ids = [tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in given]
    samples += [
        replace(samples[1], forced_ids=ids[0]),
        replace(samples[0], forced_ids=ids[1]),
        two_image_sample(tmp_path),
    ]
    return [replace(sample, index=place) for place, sample in enumerate(samples)]


SETTINGS = [
    None,
    Decoding(max_new_tokens=9, ilvc=False),
    Decoding(max_new_tokens=14, repetition_penalty=1.3),
    Decoding(max_new_tokens=14, stop_strings=("<image_id>",)),
    Decoding(max_new_tokens=6, stop_strings=("a", "c ")),
    Decoding(max_new_tokens=12, keep_logits=True),
    Decoding(max_new_tokens=9, do_sample=True, temperature=0.7, top_k=8),
]


def ask(model, samples, decodings, batch_size=8):
    requests = model.requests(**grounding_collate(samples))
    requests = [replace(request, decoding=own) for request, own in zip(requests, decodings, strict=True)]
    return model.generator(batch_size=batch_size)(requests)


@pytest.mark.slow
@torch.no_grad()
def test_any_batch_of_anything_equals_its_samples_one_by_one(model, pool):
    alone, seen = {}, {"spans": 0, "text": set()}

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.tuples(st.integers(0, len(pool) - 1), st.sampled_from(SETTINGS)), min_size=1, max_size=7),
        st.integers(1, 8),
    )
    def check(chosen, batch_size):
        answers = ask(model, [pool[kind] for kind, _ in chosen], [own for _, own in chosen], batch_size)
        for answer, key in zip(answers, chosen, strict=True):
            if key not in alone:
                (alone[key],) = ask(model, [pool[key[0]]], [key[1]])
            alike(answer, alone[key])
            seen["spans"] += len(answer.spans)
            seen["text"].add(answer.raw_text)

    check()
    assert seen["spans"] >= 10 and len(seen["text"]) >= 10, "else there was nothing to compare"


@torch.no_grad()
def test_the_rows_of_many_prompts_are_made_a_few_at_a_time(model, pool, monkeypatch):
    """And only when they are taken, so that a hundred questions about a large image take no more memory than sixteen."""
    data = grounding_collate([pool[(3 * number) % len(pool)] for number in range(40)])
    encoded = model.encode(**data)
    read, sizes = model.embed_sequence, []
    monkeypatch.setattr(
        model, "embed_sequence", lambda batch, *rest: sizes.append(len(batch.input_ids)) or read(batch, *rest)
    )
    for number, request in enumerate(model.requests(**data)):
        torch.testing.assert_close(request.embeddings, encoded.embeddings[number][encoded.attention_mask[number]])
        assert len(sizes) == number // 16 + 1
    assert sizes == [16, 16, 8]


@torch.no_grad()
def test_news_of_a_mixed_batch_end_with_its_answers(model, pool):
    data = grounding_collate(pool)
    answers = model.generator(batch_size=3)(model.requests(**data))
    last, told = {}, dict.fromkeys(range(len(pool)), "")
    for progress in model.generator(batch_size=3).stream(model.requests(**data)):
        told[progress.request_index] += progress.piece
        last[progress.request_index] = progress
    for number, answer in enumerate(answers):
        assert last[number].done and told[number] == answer.text
        alike(last[number].answer, answer)


@torch.no_grad()
def test_several_images_equal_algorithm_1(model, tmp_path):
    data = grounding_collate([two_image_sample(tmp_path)])
    ids, *_ = algorithm_1(model, data)
    (answer,) = model(**data, mode="predict")
    assert answer.raw_text == model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


# --- nothing leaks ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_unused_object_tokens_change_nothing(model, pool):
    unused = []

    def spoil(module, args, tokens):
        unused.append(int((~tokens.object_valid).sum()))
        noise = 50 * torch.randn_like(tokens.objects)
        return tokens._replace(objects=torch.where(tokens.object_valid[..., None], tokens.objects, noise))

    data = grounding_collate(pool)
    clean = model(**data, mode="predict")
    model.sefe.register_forward_hook(spoil)
    for answer, other in zip(model(**data, mode="predict"), clean, strict=True):
        alike(answer, other)
    assert sum(unused) > 0


@torch.no_grad()
def test_object_tokens_in_use_do_count(model, pool):
    """The check of the check: the same noise in their place changes answers."""
    data = grounding_collate(pool)
    clean = model(**data, mode="predict")
    model.sefe.register_forward_hook(lambda m, args, out: out._replace(objects=50 * torch.randn_like(out.objects)))
    spoiled = model(**data, mode="predict")
    assert any(answer.raw_text != other.raw_text for answer, other in zip(spoiled, clean))


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [2, 8])
def test_other_rows_change_nothing(model, pool, batch_size):
    """Whoever is in the batch, short or long, before or behind."""
    watched = pool[1]
    (expected,) = ask(model, [watched], [None])
    assert expected.spans
    for others in ([pool[0]], [pool[2], pool[4]], [pool[6], pool[7], pool[9]]):
        for place in (0, len(others)):
            batch = [*others[:place], watched, *others[place:]]
            alike(ask(model, batch, [None] * len(batch), batch_size)[place], expected)
