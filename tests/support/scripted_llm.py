"""A language model and a mask decoder that follow scripts, to drive every state of generation in milliseconds."""

import numpy as np
import torch

from lira_plugin.models.generation import Decoding, InterleavedGenerator, Prefix, Request
from lira_plugin.structures import Letterbox
from lira_plugin.tokens import SpecialTokenIds

LIMIT = 24  # tokens of an answer of the real model
END, SEG, VIEW, START, STOP, SPACE = range(6)
WORDS = {END: "", SEG: "<seg>", VIEW: "<image_id>", START: "<p>", STOP: "</p>", SPACE: " "}
WORDS |= {10: "dog", 11: "A ", 12: " runs", 13: ".", 14: " and ", 15: "cat"}
BYTES = {token: word.encode() for token, word in WORDS.items()}
BYTES |= {20 + offset: bytes([byte]) for offset, byte in enumerate("ab é人\n".encode())}
"""With some letters of several bytes, each byte a token."""
VOCABULARY = 32
IDS = SpecialTokenIds(seg=SEG, image_id=VIEW, phrase_start=START, phrase_end=STOP)
FORCED = [SPACE, START]
SIDE, VIEW_LENGTH = 24, 3


def decode(ids):
    return b"".join(BYTES[token] for token in ids).decode(errors="replace")


class ScriptedLLM:
    """Writes the answer that a script has for a request: it knows request and position from what it attends to.

    A position is (its own id, 1 for a token, index of the request once in a prompt and 1000 times a mark in a prefix); a hidden
    state is (own id, sum of what is visible of the other two). So a leak between sequences, or a position lost in the cache,
    derails the script.
    """

    def __init__(self, scripts):
        self.scripts = scripts
        self.marks = {}  # what the prefix of a request adds up to
        self.passes = []

    def embed(self, ids):
        return torch.stack([ids.float(), torch.ones(ids.shape), torch.zeros(ids.shape)], -1)

    def cached_pass(self):
        return self.run

    def run(self, embeds, cache):
        self.passes.append(tuple(embeds.shape[:2]))
        assert cache.positions.shape == embeds.shape[:2]
        stored, _ = cache.update(embeds[:, None], embeds[:, None], 0)
        visible = (cache.visible(embeds.dtype) == 0).float()  # (B, 1, new, limit)
        summed = (visible @ stored)[:, 0]
        assert torch.equal(visible.sum((1, 3)), cache.positions + 1.0), "a position sees all before it and nothing else"
        return torch.cat([embeds[..., :1], summed[..., 1:]], -1)

    def request_of(self, total):
        mark, index = divmod(total, 1000)
        assert mark == self.marks.get(index, 0), "the prefix of the request, whole and once"
        return index

    def logits(self, hidden):
        logits = torch.zeros(len(hidden), VOCABULARY)
        for row, (_, position, total) in enumerate(hidden.long().tolist()):
            request = self.request_of(total)
            script = self.scripts[request]
            logits[row, script[position] if position < len(script) else END] = 1
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
        for mask, (own, position, total), image in zip(logits, states.long().tolist(), features):
            request = self.llm.request_of(total)
            assert own == SEG, "the state is the one at the <seg> itself"
            assert image == request, "each state is decoded with the features of its image"
            if request not in self.empty:
                mask[:, (position - 1) % SIDE] = 2.0
        return logits

    def encode_views(self, images, masks):
        assert all(mask.shape == image.shape[:2] and mask.dtype == bool for image, mask in zip(images, masks))
        self.views.append([(int(image[0, 0, 0]), mask.copy()) for image, mask in zip(images, masks)])
        return torch.zeros(len(images), VIEW_LENGTH, 3)


def request(index, length=2, image=True, size=(SIDE, SIDE), prefix=None, share=True, **settings):
    """Its prompt ends with ``length`` positions of its own, after a prefix (mark, length); its image is filled with its index."""
    mark, shared = prefix or (0, 0)
    prompt = torch.zeros(shared + length, 3)
    prompt[:shared, 2] = 1000 * mark
    prompt[shared, 2] = index
    if prefix and share:
        settings["prefix"] = Prefix(mark, shared)
    if not image:
        return Request(prompt, None, None, index, **settings)
    return Request(prompt, np.full((*size, 3), index, np.uint8), Letterbox(*size, max(size)), index, **settings)


def generator(grounder, batch_size=32, prompt_lookup_num_tokens=0, **decoding):
    return InterleavedGenerator(
        grounder, IDS, END, FORCED, decode, Decoding(**decoding), batch_size, prompt_lookup_num_tokens
    )


def run(grounder, requests, **settings):
    return generator(grounder, **settings)(requests)


def column(index):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, index] = True
    return mask


GROUNDED = [SEG, VIEW, *FORCED, SPACE, 10, SPACE, STOP, SPACE, SEG, 13]
"""``<seg><image_id> <p> dog </p> <seg>.`` with the forced tokens where they come."""


def alike(answer, other):
    """Assert that two answers are the same, up to rounding of the masks."""
    assert answer.raw_text == other.raw_text and answer.text == other.text and answer.finished == other.finished
    assert len(answer.spans) == len(other.spans)
    for span, expected in zip(answer.spans, other.spans):
        assert (span.start, span.end, span.phrase) == (expected.start, expected.end, expected.phrase)
        assert (span.mask != expected.mask).mean() < 1e-3
        assert (span.coarse_mask is None) == (expected.coarse_mask is None)
        if span.coarse_mask is not None:
            assert (span.coarse_mask != expected.coarse_mask).mean() < 1e-3
        assert abs(span.score - expected.score) < 1e-3 and span.refined == expected.refined
        assert (span.phrase_prob is None) == (expected.phrase_prob is None)
        assert span.phrase_prob is None or abs(span.phrase_prob - expected.phrase_prob) < 1e-4
        assert (span.logits is None) == (expected.logits is None)
        if span.logits is not None:
            np.testing.assert_allclose(span.logits, expected.logits, atol=1e-3, rtol=1e-3)
