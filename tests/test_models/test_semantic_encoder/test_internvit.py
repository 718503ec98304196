import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import TILE, H, random_images, tiny_semantic_encoder

from lira_plugin.models.semantic_encoder.internvit import InternViTEncoder
from lira_plugin.models.space_to_depth import space_to_depth


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
    assert torch.equal(space_to_depth(patches, 2), internvl_shuffle(patches))


def test_a_token_holds_its_block_of_patches():
    patches = torch.arange(36.0).view(1, 6, 6, 1)
    assert space_to_depth(patches, 3)[0, 1, 0].tolist() == [18, 19, 20, 24, 25, 26, 30, 31, 32]


def test_encoding_follows_the_definition():
    encoder = tiny_semantic_encoder().eval()
    tiles = random_images(3, TILE)
    assert encoder.tokens_per_tile == 4
    with torch.no_grad():
        tokens = encoder(tiles)
        patches = encoder.vit.forward_features((tiles / 255 - 0.5) / 0.5)
        assert patches.shape == (3, 17, 16), "a class token and 4 x 4 patches"
        rows = internvl_shuffle(patches[:, 1:].reshape(3, 4, 4, 16)).reshape(3, 4, 64)
        norm, first, _, second = encoder.projector
        rows = F.layer_norm(rows, (64,), norm.weight, norm.bias, norm.eps)
        expected = F.linear(F.gelu(F.linear(rows, first.weight, first.bias)), second.weight, second.bias)
    assert tokens.shape == (3, 4, H)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        ({"vit": "vit_tiny_patch16_224"}, [0.5] * 3, [0.5] * 3),
        ({"vit": "vit_intern300m_patch14_448"}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ({"vit": "vit_base_patch16_clip_224"}, [0.4815, 0.4578, 0.4082], [0.2686, 0.2613, 0.2758]),
        ({"vit": "vit_tiny_patch16_224", "mean": (0.1, 0.2, 0.3)}, [0.1, 0.2, 0.3], [0.5] * 3),
    ],
)
def test_the_normalisation_is_that_of_the_transformer_unless_it_is_given(settings, mean, std):
    encoder = InternViTEncoder(hidden_size=H, vit_args={"depth": 1, "embed_dim": 16, "num_heads": 2}, **settings)
    torch.testing.assert_close(encoder.mean.flatten(), torch.tensor(mean), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.std.flatten(), torch.tensor(std), atol=1e-4, rtol=0)


def test_a_transformer_without_prefix_tokens_encodes_too():
    sizes = {"img_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    encoder = InternViTEncoder(hidden_size=H, vit="vit_base_patch16_siglip_224", shuffle=3, vit_args=sizes).eval()
    assert (encoder.tile_size, encoder.tokens_per_tile) == (48, 4)
    assert not [name for name, _ in encoder.named_parameters() if "attn_pool" in name], "every weight is used"
    with torch.no_grad():
        tiles = random_images(2, 48)
        patches = encoder.vit.forward_features((tiles / 255 - 0.5) / 0.5).view(2, 2, 3, 2, 3, 16)
        expected = encoder.projector(patches.transpose(2, 3).reshape(2, 4, 9 * 16))
        torch.testing.assert_close(encoder(tiles), expected)


@pytest.mark.parametrize(
    ("size", "shuffle", "message"),
    [(40, 2, "5 x 5 cells cannot be folded by 2"), ((32, 48), 2, "reads 32 x 48 pixels")],
)
def test_tiles_that_do_not_fold_are_refused_when_the_encoder_is_built(size, shuffle, message):
    vit_args = {"img_size": size, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    with pytest.raises(ValueError, match=message):
        InternViTEncoder(hidden_size=H, vit="vit_tiny_patch16_224", shuffle=shuffle, vit_args=vit_args)


def test_no_tile_gives_no_token():
    assert tiny_semantic_encoder()(random_images(0, TILE)).shape == (0, 4, H)


def test_normalisation_is_no_weight_of_the_checkpoint():
    assert {"mean", "std"}.isdisjoint(tiny_semantic_encoder().state_dict())


def test_internvit_of_the_published_size(monkeypatch):
    linspace = torch.linspace  # timm reads numbers off it, which a meta tensor does not have
    monkeypatch.setattr(torch, "linspace", lambda *args, **kwargs: linspace(*args, **{**kwargs, "device": "cpu"}))
    with torch.device("meta"):
        encoder = InternViTEncoder(hidden_size=2048)
        tokens = encoder(torch.zeros(2, 3, 448, 448, dtype=torch.uint8))
    vit = encoder.vit
    assert vit.patch_embed.grid_size == (32, 32)
    assert (vit.num_prefix_tokens, vit.num_features, len(vit.blocks)) == (1, 1024, 24)
    assert encoder.tokens_per_tile == 256
    assert tokens.shape == (2, 256, 2048)
    shapes = [tuple(layer.weight.shape) for layer in encoder.projector if hasattr(layer, "weight")]
    assert shapes == [(4096,), (2048, 4096), (2048, 2048)]
