"""Encodings that are kept, against encoding everything anew."""

from functools import partial

import torch
from support.inferencer_fixtures import leave_no_trace, lira
from support.scripted_llm import alike
from support.tiny_model import write_image

from lira_plugin.inference import read_prompts
from lira_plugin.models.answering import with_block_prefix
from lira_plugin.models.encoded_image_cache import EncodedImageCache

__all__ = ["leave_no_trace", "lira"]
QUESTION = "Please segment red circle."


def sample_of(lira, path, question=QUESTION, **settings):
    return lira.sample(read_prompts(path, question)[0], **settings)


def encoded_by(lira, cache, sample, key):
    """The image of a sample, by the cache, for the model's requests."""
    (image,) = cache.encode(lira.model.data_preprocessor(lira.collate_fn([sample]), False)["batch"], [key])
    return partial(cache.with_views, image)


def answer_of(lira, cache, sample, key):
    return lira.model.generator(batch_size=1)(lira.requests([sample], encoded_by(lira, cache, sample, key)))[0]


def test_answers_are_the_same_with_and_without(lira, tmp_path):
    path = write_image(tmp_path, "a")
    (first,) = lira(path, QUESTION)
    (second,) = lira(path, "And then?", history=[(QUESTION, first)])
    cache = EncodedImageCache(lira.model, 10**9)
    for _ in range(2):
        alike(answer_of(lira, cache, sample_of(lira, path), "a"), first)
        later = sample_of(lira, path, "And then?", history=[(QUESTION, first)])
        assert len(later.view_tiles), "views of the history are encoded with the question"
        alike(answer_of(lira, cache, later, "a"), second)
    assert (cache.misses, cache.hits) == (1, 3)
    (without,) = lira(None, QUESTION)
    alike(answer_of(lira, cache, sample_of(lira, None), None), without)


def test_images_that_are_new_are_encoded_together(lira, tmp_path):
    """Of three images, of several tiles each, one is known."""
    samples = {
        name: sample_of(lira, write_image(tmp_path, name, 40, 40 + 40 * index)) for index, name in enumerate("abc")
    }
    expected = {name: answer_of(lira, EncodedImageCache(lira.model, 0), own, name) for name, own in samples.items()}
    cache = EncodedImageCache(lira.model, 10**9)
    answer_of(lira, cache, samples["b"], "b")
    batch = lira.model.data_preprocessor(lira.collate_fn(list(samples.values())), False)["batch"]
    images = dict(zip(samples, cache.encode(batch, list(samples))))
    assert (cache.misses, cache.hits) == (3, 1)
    for name, sample in samples.items():
        requests = lira.requests([sample], partial(cache.with_views, images[name]))
        alike(lira.model.generator(batch_size=1)(requests)[0], expected[name])


def test_what_was_used_last_is_kept_within_the_bound(lira, tmp_path):
    samples = {name: sample_of(lira, write_image(tmp_path, name)) for name in "abc"}
    cache = EncodedImageCache(lira.model, 10**9)
    answer_of(lira, cache, samples["a"], "a")
    size = cache.num_bytes
    assert size > 0
    cache = EncodedImageCache(lira.model, 2 * size)
    for name in "abacb":
        answer_of(lira, cache, samples[name], name)
        assert cache.num_bytes <= cache.max_bytes
    assert (cache.misses, cache.hits, len(cache)) == (4, 1, 2) and "a" not in cache
    cache.clear()
    assert not cache.num_bytes and "b" not in cache
    none = EncodedImageCache(lira.model, size - 1)
    answer_of(lira, none, samples["a"], "a")
    assert not len(none) and not none.num_bytes


def test_a_prefix_ends_with_the_visual_block(lira, tmp_path):
    """Two questions about an image have it in common, whatever their texts; it is what their embeddings share."""
    path = write_image(tmp_path, "a")
    cache = EncodedImageCache(lira.model, 10**9)
    samples = [sample_of(lira, path, question) for question in (QUESTION, "What is this?")]
    first, second = (
        with_block_prefix(next(lira.requests([sample], encoded_by(lira, cache, sample, "a"))), sample, "a")
        for sample in samples
    )
    assert first.prefix == second.prefix and 0 < first.prefix.length < min(
        len(first.embeddings), len(second.embeddings)
    )
    length = first.prefix.length
    assert torch.equal(first.embeddings[:length], second.embeddings[:length])
    other = sample_of(lira, write_image(tmp_path, "b"))
    request = next(lira.requests([other], encoded_by(lira, cache, other, "b")))
    assert with_block_prefix(request, other, "b").prefix.key != first.prefix.key
    text = sample_of(lira, None)
    assert with_block_prefix(next(lira.requests([text])), text, None).prefix is None
