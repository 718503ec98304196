"""The vision tower on many tiles, against transformers' own image processor and tower."""

import pytest
import torch
from support.qwen2_vl_twin import SIZES, TILE, build
from support.tiny_model import random_images
from transformers import Qwen2VLImageProcessor

from lira_plugin.models import Qwen2VLEncoder
from lira_plugin.models.semantic_encoder.qwen_vl import blocks_first

VISION = {name: value for name, value in SIZES["vision_config"].items() if name != "hidden_size"}


def encoder_of(model, tile_size=TILE, **vision):
    """Ours with the weights of transformers' model."""
    encoder = Qwen2VLEncoder(32, tile_size, {**VISION, **vision})
    encoder.visual.load_state_dict(model.visual.state_dict())
    return encoder.eval()


@torch.no_grad()
def published(model, tiles):
    """Tokens as the published code makes them: one image after the other is cut up, all tiles in one sequence."""
    images = [tile.permute(1, 2, 0).numpy() for tile in tiles]
    inputs = Qwen2VLImageProcessor()(images=images, return_tensors="pt")
    tokens = model.visual(inputs.pixel_values, inputs.image_grid_thw)
    return tokens.unflatten(0, (len(tiles), -1))


@pytest.mark.parametrize("tile_size", [56, 84])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_tokens_are_those_of_transformers(tile_size, heads):
    model = build(vision_config={**SIZES["vision_config"], "num_heads": heads})
    encoder = encoder_of(model, tile_size, num_heads=heads)
    tiles = random_images(3, tile_size)
    with torch.no_grad():
        tokens = encoder(tiles)
    expected = published(model, tiles)
    assert tokens.shape == (3, encoder.tokens_per_tile, 32) == (3, (tile_size // 28) ** 2, 32)
    assert (expected[0] - expected[1]).abs().max() > 1, "the twin tells tiles apart"
    torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=0)


def test_a_tile_does_not_see_the_others():
    encoder, tiles = encoder_of(build()), random_images(4, TILE)
    with torch.no_grad():
        alone = torch.cat([encoder(tile[None]) for tile in tiles])
        torch.testing.assert_close(encoder(tiles), alone, atol=1e-4, rtol=0)
        assert encoder(tiles[:0]).shape == (0, 4, 32)


def test_in_bf16_it_stays_close():
    """Were the angles rounded too, patches far from the corner would turn wrongly."""
    model, tiles = build(), random_images(2, 112)
    exact = encoder_of(model, 112)
    rounded = encoder_of(model.bfloat16().float(), 112).bfloat16()
    assert torch.equal(rounded._angles(tiles.device), exact._angles(tiles.device))
    with torch.no_grad():
        error = (rounded(tiles).float() - exact(tiles)).std() / exact(tiles).std()
    assert error < 0.05


def test_patches_of_a_token_follow_each_other():
    places = torch.arange(16.0).view(1, 4, 4, 1)
    assert blocks_first(places, 2).flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="multiple of 28, the side of a token in pixels, got 60"):
        Qwen2VLEncoder(32, 60, VISION)
    with pytest.raises(ValueError, match=r"expected tiles of \(3, 56, 56\), got \(3, 84, 84\)"):
        Qwen2VLEncoder(32, 56, VISION)(random_images(1, 84))


def test_every_weight_learns():
    encoder = encoder_of(build())
    encoder(random_images(2, TILE)).square().mean().backward()
    assert {name for name, parameter in encoder.named_parameters() if not parameter.grad.any()} == set()
    assert {"mean", "std"}.isdisjoint(encoder.state_dict())


def test_the_published_tower():
    with torch.device("meta"):
        encoder = Qwen2VLEncoder(1536)
        tokens = encoder(torch.zeros(2, 3, 448, 448, dtype=torch.uint8))
    assert (encoder.tile_size, encoder.tokens_per_tile) == (448, 256)
    assert tokens.shape == (2, 256, 1536)
