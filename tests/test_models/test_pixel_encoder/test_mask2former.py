"""The transformer decoder with its mask embedding, apart from the segmenter that has it."""

import pytest
import torch
from support.tiny_model import D, random_images, tiny_pixel_encoder

from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory, blocked_cells


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return tiny_pixel_encoder(num_layers=4).eval()  # more layers than levels


@pytest.fixture(scope="module")
def decoder(encoder):
    return encoder.segmenter.decoder


@pytest.fixture(scope="module")
def decoder_memory(encoder):
    """Of two images."""
    with torch.no_grad():
        return encoder.encode(random_images(2)).decoder_memory


@torch.no_grad()
def test_independent_queries_are_decoded_as_if_each_were_alone(decoder, decoder_memory):
    features, positions = torch.randn(2, 5, D), torch.randn(2, 5, D)
    together = decoder(decoder_memory, features, positions, independent=True)
    connected = decoder(decoder_memory, features, positions)
    for query in range(5):
        one = slice(query, query + 1)
        alone = decoder(decoder_memory, features[:, one], positions[:, one])
        torch.testing.assert_close(together.query_features[:, one], alone.query_features, atol=1e-5, rtol=1e-4)
        outputs = together.mask_logits + together.normed_queries, alone.mask_logits + alone.normed_queries
        for ours, theirs in zip(*outputs, strict=True):
            torch.testing.assert_close(ours[:, one], theirs, atol=1e-5, rtol=1e-4)
    assert (connected.mask_logits[-1] - together.mask_logits[-1]).abs().max() > 1e-3, "self-attention matters otherwise"


@torch.no_grad()
def test_the_last_output_alone_can_be_kept(decoder, decoder_memory):
    """The others would be a tenfold of memory."""
    queries = torch.randn(2, 3, D)
    every, last = decoder(decoder_memory, queries, queries), decoder(decoder_memory, queries, queries, last_only=True)
    assert len(every.normed_queries) == len(every.mask_logits) == 5
    assert len(last.normed_queries) == len(last.mask_logits) == 1
    for one, all_outputs in zip(last, every):
        assert torch.equal(one[-1], all_outputs[-1])


@torch.no_grad()
def test_a_mask_is_the_embedding_of_the_normed_query_times_the_mask_features(decoder, decoder_memory):
    queries = torch.randn(2, 3, D)
    decoded = decoder(decoder_memory, queries, queries)
    for before, output in zip((queries, decoded.query_features), (0, -1)):
        normed = torch.nn.functional.layer_norm(before, (D,), *decoder.transformer_decoder.post_norm.parameters())
        torch.testing.assert_close(decoded.normed_queries[output], normed)
        embedded = decoder.mask_embed(normed)
        masks = (embedded[..., None, None] * decoder_memory.mask_features[:, None]).sum(2)
        torch.testing.assert_close(decoded.mask_logits[output], masks, atol=1e-5, rtol=1e-4)


def test_a_query_sees_the_cells_under_its_mask_and_everything_if_its_mask_is_empty():
    assert not blocked_cells(torch.full((1, 2, 8, 8), -3.0), (4, 4)).any()
    half = torch.full((1, 1, 8, 8), -3.0)
    half[..., :4] = 3.0
    expected = torch.tensor([False, False, True, True]).repeat(4)
    assert torch.equal(blocked_cells(half, (4, 4)), expected[None, None])


def test_memories_are_parted_and_joined_by_image(decoder_memory):
    parts = [decoder_memory.of(torch.tensor([image])) for image in (1, 0)]
    joined = DecoderMemory.joined(parts)
    assert torch.equal(joined.mask_features, decoder_memory.mask_features.flip(0))
    assert all(torch.equal(ours, theirs.flip(0)) for ours, theirs in zip(joined.memories, decoder_memory.memories))
    assert joined.positions is decoder_memory.positions and joined.sizes == decoder_memory.sizes
