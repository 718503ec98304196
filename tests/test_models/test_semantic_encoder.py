import pytest
import torch
import torch.nn.functional as F
from tiny import TILE, H, random_images, tiny_semantic_encoder

from lira_plugin.models.semantic_encoder import SemanticEncoder, pixel_shuffle


def internvl_shuffle(patches, scale=0.5):
    """The permutations of ``modeling_internvl_chat.py``, version 2."""
    n, w, h, c = patches.shape
    patches = patches.view(n, w, int(h * scale), int(c / scale))
    patches = patches.permute(0, 2, 1, 3).contiguous()
    patches = patches.view(n, int(h * scale), int(w * scale), int(c / (scale * scale)))
    return patches.permute(0, 2, 1, 3).contiguous()


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (1, 32, 32, 8), (3, 4, 6, 5), (1, 2, 8, 1)])
def test_pixel_shuffle_is_that_of_internvl(shape):
    patches = torch.randn(shape)
    assert torch.equal(pixel_shuffle(patches, 2), internvl_shuffle(patches))


def test_a_token_holds_its_block_of_patches():
    patches = torch.arange(36.0).view(1, 6, 6, 1)
    assert pixel_shuffle(patches, 3)[0, 1, 0].tolist() == [18, 19, 20, 24, 25, 26, 30, 31, 32]


def test_encoding_follows_the_definition():
    encoder = tiny_semantic_encoder().eval()
    tiles = random_images(3, TILE)
    assert encoder.tokens_per_tile == 4
    with torch.no_grad():
        tokens = encoder(tiles)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        patches = encoder.vit.forward_features((tiles / 255 - mean[:, None, None]) / std[:, None, None])
        assert patches.shape == (3, 17, 16), "a class token and 4 x 4 patches"
        rows = internvl_shuffle(patches[:, 1:].reshape(3, 4, 4, 16)).reshape(3, 4, 64)
        norm, first, _, second = encoder.projector
        rows = F.layer_norm(rows, (64,), norm.weight, norm.bias, norm.eps)
        expected = F.linear(F.gelu(F.linear(rows, first.weight, first.bias)), second.weight, second.bias)
    assert tokens.shape == (3, 4, H)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


def test_no_tile_gives_no_token():
    assert tiny_semantic_encoder()(random_images(0, TILE)).shape == (0, 4, H)


def test_normalisation_is_no_weight_of_the_checkpoint():
    assert {"mean", "std"}.isdisjoint(tiny_semantic_encoder().state_dict())


def test_internvit_of_the_published_size(monkeypatch):
    linspace = torch.linspace  # timm reads numbers off it, which a meta tensor does not have
    monkeypatch.setattr(torch, "linspace", lambda *args, **kwargs: linspace(*args, **{**kwargs, "device": "cpu"}))
    with torch.device("meta"):
        encoder = SemanticEncoder(hidden_size=2048)
        tokens = encoder(torch.zeros(2, 3, 448, 448, dtype=torch.uint8))
    vit = encoder.vit
    assert vit.patch_embed.grid_size == (32, 32)
    assert (vit.num_prefix_tokens, vit.num_features, len(vit.blocks)) == (1, 1024, 24)
    assert encoder.tokens_per_tile == 256
    assert tokens.shape == (2, 256, 2048)
    shapes = [tuple(layer.weight.shape) for layer in encoder.projector if hasattr(layer, "weight")]
    assert shapes == [(4096,), (2048, 4096), (2048, 2048)]
