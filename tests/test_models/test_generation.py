import numpy as np
import pytest
import torch
from tiny import (
    TILE,
    caption_record,
    make_batch,
    make_samples,
    refer_record,
    text_record,
    tiny_lira,
    tiny_llm,
    tiny_tokenizer,
)

from lira_plugin.models.generation import (
    Decoding,
    InterleavedGenerator,
    PhrasePlace,
    Request,
    RowCache,
    read_answer,
)
from lira_plugin.models.interleaved_llm import seg_positions
from lira_plugin.structures import IGNORE_INDEX, Letterbox, region_view
from lira_plugin.tokens import SpecialTokenIds, SpecialTokens

END, SEG, VIEW, START, STOP, SPACE = range(6)
WORDS = {END: "", SEG: "<seg>", VIEW: "<image_id>", START: "<p>", STOP: "</p>", SPACE: " "}
WORDS |= {10: "dog", 11: "A ", 12: " runs", 13: ".", 14: " and ", 15: "cat"}
IDS = SpecialTokenIds(seg=SEG, image_id=VIEW, phrase_start=START, phrase_end=STOP)
FORCED = [SPACE, START]
SIDE, VIEW_ROWS = 24, 3


def decode(ids):
    return "".join(WORDS[number] for number in ids)


class ScriptedLLM:
    """Writes the answer that a script has for a request: it knows the request and the place from what it attends to.

    A row is (its own id, 1 for a token, number of the request at the first row of a prompt); a hidden state is (own id,
    sum of what is visible of the other two). So a leak between rows, or a place lost in the cache, derails the script.
    """

    def __init__(self, scripts):
        self.scripts = scripts
        self.passes = []

    def embed(self, ids):
        return torch.stack([ids.float(), torch.ones(ids.shape), torch.zeros(ids.shape)], -1)

    def hidden_states(self, feed, attention_mask, position_ids, past_key_values, **kwargs):
        self.passes.append(tuple(feed.shape[:2]))
        assert position_ids.shape == feed.shape[:2]
        seen, _ = past_key_values.update(feed[:, None], feed[:, None], 0)
        visible = (attention_mask == 0).float()  # (rows, 1, new, limit)
        summed = (visible @ seen)[:, 0]
        assert torch.equal(visible.sum((1, 3)), position_ids + 1.0), "a position sees all before it and nothing else"
        return torch.cat([feed[..., :1], summed[..., 1:]], -1)

    def logits(self, hidden):
        logits = torch.zeros(len(hidden), 16)
        for row, (_, place, request) in enumerate(hidden.long().tolist()):
            script = self.scripts[request]
            logits[row, script[place] if place < len(script) else END] = 1
            logits[row, 10] = 0.5  # the second choice
        return logits


class ScriptedGrounder:
    """Decodes the state of the n-th token fed to a mask of column n; ``empty`` requests get empty masks."""

    def __init__(self, *scripts, empty=()):
        self.llm = ScriptedLLM(scripts)
        self.empty = empty
        self.decoded, self.views = [], []

    def decode_masks(self, states, features):
        self.decoded.append(len(states))
        logits = torch.full((len(states), SIDE, SIDE), -2.0)
        for mask, (own, place, request), image in zip(logits, states.long().tolist(), features):
            assert own == SEG, "the state is the one at the <seg> itself"
            assert image == request, "each state is decoded with the features of its image"
            if request not in self.empty:
                mask[:, place - 1] = 2.0
        return logits

    def encode_views(self, images, masks):
        assert all(mask.shape == image.shape[:2] and mask.dtype == bool for image, mask in zip(images, masks))
        self.views.append([(int(image[0, 0, 0]), mask.copy()) for image, mask in zip(images, masks)])
        return torch.zeros(len(images), VIEW_ROWS, 3)


def request(number, rows=2, image=True, size=(SIDE, SIDE)):
    """Its prompt has ``rows`` rows; its image is filled with the number."""
    prompt = torch.zeros(rows, 3)
    prompt[0, 2] = number
    if not image:
        return Request(prompt, None, None, number)
    return Request(prompt, np.full((*size, 3), number, np.uint8), Letterbox(*size, max(size)), number)


def generator(grounder, batch_size=32, **decoding):
    return InterleavedGenerator(grounder, IDS, END, FORCED, decode, Decoding(**decoding), batch_size)


def run(grounder, requests, **settings):
    return generator(grounder, **settings)(requests)


def column(number):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, number] = True
    return mask


GROUNDED = [SEG, VIEW, *FORCED, SPACE, 10, SPACE, STOP, SPACE, SEG, 13]
"""``<seg><image_id> <p> dog </p> <seg>.`` with the forced tokens where they come."""


def test_plain_text():
    grounder = ScriptedGrounder([11, 10, 12, 13])
    (answer,) = run(grounder, [request(0)])
    assert (answer.text, answer.raw_text, answer.spans, answer.finished) == ("A dog runs.", "A dog runs.", (), True)
    assert grounder.decoded == [] and grounder.views == []


def test_a_region_is_viewed_and_its_phrase_opened():
    grounder = ScriptedGrounder(GROUNDED)
    (answer,) = run(grounder, [request(0)])
    assert answer.text == "dog." and answer.raw_text == "<seg><image_id> <p> dog </p> <seg>." and answer.finished
    (span,) = answer.spans
    assert (span.start, span.end, span.phrase) == (0, 3, "dog")
    np.testing.assert_array_equal(span.coarse_mask, column(0))
    np.testing.assert_array_equal(span.mask, column(9), "decoded from the <seg> after the phrase")
    assert span.score == pytest.approx(1 / (1 + np.exp(-2.0)))
    (((image, mask),),) = grounder.views
    assert image == 0
    np.testing.assert_array_equal(mask, column(0), "the view is that of the coarse mask")
    fed = sum(rows for _, rows in grounder.llm.passes)
    assert fed == 2 + len(GROUNDED) + VIEW_ROWS, "the view takes its rows, and nothing is fed twice"


def test_forced_tokens_are_not_asked_of_the_model():
    scripts = [list(GROUNDED)]
    scripts[0][2:4] = [15, 15]  # what it would have written instead
    (answer,) = run(ScriptedGrounder(*scripts), [request(0)])
    assert answer.raw_text == "<seg><image_id> <p> dog </p> <seg>."


def test_a_view_without_any_mask_is_of_the_whole_image():
    grounder = ScriptedGrounder([VIEW, *FORCED, SPACE, 10, SPACE, STOP])
    (answer,) = run(grounder, [request(0, size=(12, SIDE))])
    (((_, mask),),) = grounder.views
    assert mask.shape == (12, SIDE) and mask.all()
    assert answer.text == "dog" and answer.spans == ()


def test_an_empty_mask_gives_an_empty_region_with_score_zero():
    grounder = ScriptedGrounder(GROUNDED, empty={0})
    (answer,) = run(grounder, [request(0)])
    assert not grounder.views[0][0][1].any()
    (span,) = answer.spans
    assert not span.mask.any() and not span.coarse_mask.any() and span.score == 0


def test_masks_have_the_size_of_the_image():
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0, size=(12, SIDE))])
    np.testing.assert_array_equal(answer.spans[0].mask, column(9)[:12])
    np.testing.assert_array_equal(answer.spans[0].coarse_mask, column(0)[:12])


def test_several_regions_are_viewed_in_turn():
    two = [11, *GROUNDED[:-1], 14, SEG, VIEW, *FORCED, SPACE, 15, SPACE, STOP, SPACE, SEG, 13]
    grounder = ScriptedGrounder(two)
    (answer,) = run(grounder, [request(0)])
    assert answer.text == "A dog and cat."
    assert [(span.start, span.end, span.phrase) for span in answer.spans] == [(2, 5, "dog"), (10, 13, "cat")]
    assert len(grounder.views) == 2
    np.testing.assert_array_equal(grounder.views[0][0][1], column(1))
    np.testing.assert_array_equal(grounder.views[1][0][1], column(12), "of the latest <seg>")
    np.testing.assert_array_equal(answer.spans[1].mask, column(21))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 8])
def test_the_limit_counts_chosen_tokens_only(limit):
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], max_new_tokens=limit)
    assert answer.raw_text == decode(GROUNDED[: limit if limit <= 2 else limit + len(FORCED)])
    assert not answer.finished
    assert len(answer.spans) == 1, "the first <seg> has its mask, even as the last token allowed"
    np.testing.assert_array_equal(answer.spans[0].coarse_mask, column(0))


def test_a_seg_at_the_limit_is_still_decoded():
    chosen_tokens = len(GROUNDED) - 1 - len(FORCED)  # up to the second <seg>
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], max_new_tokens=chosen_tokens)
    assert answer.raw_text.endswith("</p> <seg>") and not answer.finished
    np.testing.assert_array_equal(answer.spans[0].mask, column(9))


def test_an_answer_that_ends_at_the_limit_by_itself_is_finished():
    (answer,) = run(ScriptedGrounder([11, 10]), [request(0)], max_new_tokens=3)
    assert answer.finished and answer.text == "A dog"


def test_without_an_image_nothing_is_viewed_or_decoded():
    grounder = ScriptedGrounder([SEG, VIEW, 10])
    (answer,) = run(grounder, [request(0, image=False)])
    assert answer.raw_text == "<seg><image_id>dog" and answer.spans == () and answer.text == "dog"
    assert grounder.views == [] and grounder.decoded == []


def test_without_ilvc_the_model_never_asks_for_a_view():
    grounder = ScriptedGrounder([SEG, VIEW, 13])
    (answer,) = run(grounder, [request(0)], ilvc=False)
    assert grounder.views == [] and answer.raw_text == "<seg>dog.", "the second choice instead"


SCRIPTS = [
    [11, 10, 12, 13],
    GROUNDED,
    [],
    [VIEW, *FORCED, 10],
    [11, *GROUNDED[:-1], 14, SEG, VIEW, *FORCED, SPACE, 15, SPACE, STOP, SPACE, SEG, 13],
    [10] * 20,
    [SEG, 13],
]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50])
def test_any_batch_size_gives_the_same_answers_in_the_order_of_the_requests(batch_size):
    grounder = ScriptedGrounder(*SCRIPTS)
    requests = [request(number, rows=1 + 3 * number % 5, image=number != 2) for number in range(len(SCRIPTS))]
    answers = run(grounder, requests, batch_size=batch_size, max_new_tokens=15)
    for number, answer in enumerate(answers):
        (alone,) = run(ScriptedGrounder(*SCRIPTS), [requests[number]], max_new_tokens=15)
        assert (answer.raw_text, answer.text, answer.finished) == (alone.raw_text, alone.text, alone.finished)
        assert len(answer.spans) == len(alone.spans)
        for span, other in zip(answer.spans, alone.spans):
            np.testing.assert_array_equal(span.mask, other.mask)
            np.testing.assert_array_equal(span.coarse_mask, other.coarse_mask)
    assert answers[1].text == "dog." and answers[2].text == "" and not answers[5].finished
    assert max(rows for rows, _ in grounder.llm.passes) <= batch_size


def test_rows_that_wait_are_served_together():
    grounder = ScriptedGrounder(*[GROUNDED] * 4)
    run(grounder, [request(number, rows=1 + number) for number in range(4)])
    assert [len(views) for views in grounder.views] == [4]
    assert grounder.decoded == [4, 4], "all coarse masks in one call, all refined ones in another"


def test_no_request_gives_no_answer():
    assert run(ScriptedGrounder(), []) == []


@pytest.mark.parametrize("settings", [{"max_new_tokens": 0}, {"batch_size": 0}])
def test_nonsense_settings_are_an_error(settings):
    with pytest.raises(ValueError, match="positive"):
        run(ScriptedGrounder(), [], **settings)


# --- reading an answer ------------------------------------------------------------------------------------------------


def read(*ids):
    return read_answer(ids, IDS, decode)


def test_an_answer_that_is_cut_off_keeps_what_is_there():
    assert read(*GROUNDED[:1]) == ("", [PhrasePlace(0, 0, 0, -1)])
    assert read(*GROUNDED[:4]) == ("", [PhrasePlace(0, 0, 0, -1)])
    assert read(*GROUNDED[:8])[1] == [PhrasePlace(0, 3, 0, -1)]
    text, (place,) = read(*GROUNDED[:6])
    assert text.strip() == "dog" and (place.before, place.after) == (0, -1)


def test_a_seg_without_a_phrase_stands_at_its_place():
    assert read(11, SEG, 13) == ("A .", [PhrasePlace(2, 2, 1, -1)])
    assert read(11, SEG, 14, SEG, 13) == ("A  and .", [PhrasePlace(2, 2, 1, -1), PhrasePlace(7, 7, 3, -1)])


def test_text_between_a_seg_without_a_phrase_and_the_next_phrase_is_kept():
    text, places = read(11, SEG, 14, START, SPACE, 10, SPACE, STOP, SPACE, SEG, 13)
    assert text == "A  and dog."
    assert places == [PhrasePlace(2, 2, 1, -1), PhrasePlace(7, 10, -1, 9)]


def test_text_after_a_phrase_that_lacks_its_seg_is_kept():
    text, places = read(START, SPACE, 10, SPACE, STOP, 14, 15, SEG, 13)
    assert text == "dog and cat."
    assert places[-1].before == 7 or places[-1].after == 7


def without_suffix(sample, tokenizer):
    """Ids of the answer tokens, turn by turn."""
    turns, turn = [], []
    for label in sample.labels.tolist():
        if label == tokenizer.convert_tokens_to_ids("<|im_end|>"):
            turns.append(turn)
            turn = []
        elif label != IGNORE_INDEX:
            turn.append(label)
    return turns


CAPTIONS = [
    ("A man with his hat.", ["man", "hat"]),
    ("red cup", ["red cup"]),
    ("The dog, a cat and the end", ["The dog", "a cat", "end"]),
    ("her dog sleeps", ["her", "dog"]),
    ("café ünï 人: naïve", ["ünï 人", "naïve"]),
    ("Nothing is there.", []),
    ("two  spaces  (here) ", ["spaces"]),
]


@pytest.mark.parametrize("prob", [0.0, 1.0])
@pytest.mark.parametrize(("caption", "phrases"), CAPTIONS)
def test_reading_is_the_inverse_of_the_transform_for_captions(tmp_path, caption, phrases, prob):
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    record = caption_record(tmp_path, "a", caption, phrases)
    (sample,) = make_samples([record], prob=prob)
    (ids,) = without_suffix(sample, tokenizer)
    special = SpecialTokens().resolve(tokenizer)
    text, places = read_answer(ids, special, tokenizer.decode)
    assert text == caption
    spans = record.conversation.turns[0].spans
    assert [(place.start, place.end) for place in places] == [(span.start, span.end) for span in spans]
    segs = [place for place, token in enumerate(ids) if token == special.seg]
    expected = list(zip(segs[::2], segs[1::2])) if prob else [(-1, seg) for seg in segs]
    assert [(place.before, place.after) for place in places] == expected


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_reading_is_the_inverse_of_the_transform_for_refseg(tmp_path, prob):
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    labels = ["red cup", "dog on the left"]
    (sample,) = make_samples([refer_record(tmp_path, "a", labels)], prob=prob)
    for label, ids in zip(labels, without_suffix(sample, tokenizer), strict=True):
        text, ((start, end, _, _),) = read_answer(ids, SpecialTokens().resolve(tokenizer), tokenizer.decode)
        assert text == f"{label}." and text[start:end] == label


# --- with the real model ----------------------------------------------------------------------------------------------


def test_a_cache_with_rows_of_their_own_equals_a_run_without_cache():
    llm = tiny_llm().eval()
    sequences = [torch.randn(length, 32) for length in (9, 5, 12)]
    cache = RowCache()
    cache.lengths = dict.fromkeys(range(4), 0)
    slots = [2, 0, 3]
    chunks = [[(0, 4), (1, 1), (2, 3)], [(0, 1), (2, 1)], [(1, 4), (2, 6)], [(0, 4), (2, 2)]]  # (sequence, rows)
    done, outputs = [0, 0, 0], [[], [], []]
    with torch.no_grad():
        for chunk in chunks:
            feed = torch.nn.utils.rnn.pad_sequence(
                [sequences[row][done[row] : done[row] + new] for row, new in chunk], batch_first=True
            )
            cache.begin([slots[row] for row, _ in chunk], feed.shape[1], feed.device)
            hidden = llm.hidden_states(
                feed,
                attention_mask=cache.visible(feed.dtype),
                position_ids=cache.columns,
                past_key_values=cache,
                cache_position=torch.arange(cache.limit - feed.shape[1], cache.limit),
                use_cache=True,
            )
            for (row, new), states in zip(chunk, hidden):
                outputs[row].append(states[:new])
                done[row] += new
                cache.lengths[slots[row]] += new
        assert done == [9, 5, 12]
        for sequence, output in zip(sequences, outputs):
            whole = llm(sequence[None], torch.ones(1, len(sequence), dtype=torch.bool)).hidden[0]
            torch.testing.assert_close(torch.cat(output), whole, atol=1e-4, rtol=1e-4)


def test_a_cache_grows_beyond_its_first_room():
    llm = tiny_llm().eval()
    sequence = torch.randn(1, 150, 32)
    cache, outputs = RowCache(), []
    cache.lengths[1] = 0
    with torch.no_grad():
        for part in sequence.split(25, 1):
            cache.begin([1], part.shape[1], part.device)
            position = torch.arange(cache.limit - part.shape[1], cache.limit)
            outputs.append(
                llm.hidden_states(
                    part,
                    attention_mask=cache.visible(part.dtype),
                    position_ids=cache.columns,
                    past_key_values=cache,
                    cache_position=position,
                    use_cache=True,
                )
            )
            cache.lengths[1] += part.shape[1]
        whole = llm(sequence, torch.ones(1, 150, dtype=torch.bool)).hidden
    torch.testing.assert_close(torch.cat(outputs, 1), whole, atol=1e-4, rtol=1e-4)


LIMIT = 24


@pytest.fixture
def model():
    """A LIRA that often writes special tokens: random, but with a strong head for few words."""
    lira = tiny_lira(seed=11, generation={"max_new_tokens": LIMIT}, llm={"initializer_range": 0.4}).eval()
    words = lira.tokenizer("acs ", add_special_tokens=False)["input_ids"]
    allowed = [*lira.ids, lira.tokenizer.convert_tokens_to_ids("<|im_end|>"), *words]
    closed = torch.full((len(lira.tokenizer),), -1e9)
    closed[allowed] = 0
    closed[[lira.ids.seg, lira.ids.image_id]] = 0.5
    head = lira.llm.causal_lm.get_output_embeddings()
    with torch.no_grad():
        head.weight.normal_(std=1.0)
    head.register_forward_hook(lambda module, args, output: output + closed)
    return lira


@pytest.fixture
def prompts(tmp_path):
    return [
        refer_record(tmp_path, "a", ["cup"], 40, 64),
        refer_record(tmp_path, "b", ["a much longer expression"], 64, 50),
        text_record("c"),
        caption_record(tmp_path, "d", "A cat.", ["cat"], 33, 47),
        refer_record(tmp_path, "e", ["dog", "the other dog"], 64, 64),
    ]


def alike(answer, other):
    assert answer.raw_text == other.raw_text and answer.text == other.text and answer.finished == other.finished
    assert len(answer.spans) == len(other.spans)
    for span, expected in zip(answer.spans, other.spans):
        assert (span.start, span.end, span.phrase) == (expected.start, expected.end, expected.phrase)
        assert (span.mask != expected.mask).mean() < 1e-3
        assert (span.coarse_mask is None) == (expected.coarse_mask is None)
        if span.coarse_mask is not None:
            assert (span.coarse_mask != expected.coarse_mask).mean() < 1e-3
        assert abs(span.score - expected.score) < 1e-3


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
