import math

import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import D, H, Q

from lira_plugin.models.pixel_encoder.pixel_encoder import PixelFeatures
from lira_plugin.models.sefe import SEFE, SemanticAttention

CHANNELS, TOKENS, PIXELS, HEADS = 20, 4, 9, 4


def build(**settings):
    sefe = SEFE(CHANNELS, 2 * D, H, query_channels=24, num_heads=HEADS, **settings)
    if sefe.enrich is not None:  # as after training: initial norms and biases would hide a mistake
        for parameter in sefe.enrich.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return sefe


def features(num_images):
    objects = torch.randn(num_images, Q, 2 * D)
    return PixelFeatures(
        torch.randn(num_images, PIXELS, CHANNELS), objects, torch.rand(num_images, Q) > 0.5, None, None
    )


def only(all_features, image):
    return PixelFeatures(*(tensor[image : image + 1] for tensor in all_features[:3]), None, None)


def plain_enrich(enrich, tokens, context):
    """Pre-norm multi-head attention of one image with loops and an explicit softmax: (n, H), (m, H) to (n, H)."""
    query = F.layer_norm(tokens, (H,), enrich.norm_query.weight, enrich.norm_query.bias)
    context = F.layer_norm(context, (H,), enrich.norm_context.weight, enrich.norm_context.bias)
    attention = enrich.attention
    q, k, v = (
        x @ weight.T + bias
        for x, weight, bias in zip(
            (query, context, context), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        )
    )
    width = H // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        weights = (q[:, part] @ k[:, part].T / math.sqrt(width)).softmax(-1)
        heads.append(weights @ v[:, part])
    return tokens + torch.cat(heads, -1) @ attention.out_proj.weight.T + attention.out_proj.bias


def test_equals_a_plain_statement_for_unequal_numbers_of_tiles():
    sefe, inputs = build(), features(3)
    counts = [2, 1, 3]
    semantic = torch.randn(6, TOKENS, H)
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    with torch.no_grad():
        tokens = sefe(inputs, semantic, owner)
        for image, tiles in enumerate(semantic.split(counts)):
            objects = sefe.query_proj(inputs.objects[image])
            first, _, second = sefe.object_proj
            objects = second(F.gelu(first(objects)))
            first, _, second = sefe.pixel_proj
            pixels = second(F.gelu(first(inputs.pixels[image])))
            context = tiles.reshape(-1, H)
            expected = plain_enrich(sefe.enrich, objects, context)
            torch.testing.assert_close(tokens.objects[image], expected, atol=1e-5, rtol=1e-4)
            expected = plain_enrich(sefe.enrich, pixels, context)
            torch.testing.assert_close(tokens.pixels[image], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(tokens.semantic, semantic), "semantic tokens go on as they are"
    assert torch.equal(tokens.object_valid, inputs.object_valid)


def test_a_batch_equals_one_image_at_a_time():
    sefe, inputs = build(), features(3)
    semantic, owner = torch.randn(7, TOKENS, H), torch.tensor([0, 1, 1, 1, 1, 2, 2])
    together = sefe(inputs, semantic, owner)
    for image in range(3):
        tiles = semantic[owner == image]
        alone = sefe(only(inputs, image), tiles, torch.zeros(len(tiles), dtype=torch.long))
        torch.testing.assert_close(together.objects[image : image + 1], alone.objects, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.pixels[image : image + 1], alone.pixels, atol=1e-5, rtol=1e-4)


def test_without_enrichment_tokens_are_projected_only():
    sefe, inputs = build(enrich=False), features(2)
    tokens = sefe(inputs, torch.randn(3, TOKENS, H), torch.tensor([0, 0, 1]))
    assert tokens.semantic.shape == (0, TOKENS, H)
    torch.testing.assert_close(tokens.objects, sefe.project_objects(inputs.objects))
    torch.testing.assert_close(tokens.pixels, sefe.pixel_proj(inputs.pixels))
    assert not any("enrich" in name for name, _ in sefe.named_parameters())


def test_the_gradient_reaches_both_branches_and_the_semantic_tokens():
    sefe, inputs = build(), features(1)
    semantic = torch.randn(2, TOKENS, H, requires_grad=True)
    tokens = sefe(inputs, semantic, torch.zeros(2, dtype=torch.long))
    (tokens.objects.square().sum() + tokens.pixels.square().sum()).backward()
    for name, parameter in sefe.named_parameters():
        if "separator" not in name:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert semantic.grad.abs().sum() > 0


@pytest.mark.parametrize(("owner", "missing"), [([0, 0], 1), ([1, 1], 0)])
def test_an_image_without_a_tile_is_an_error(owner, missing):
    with pytest.raises(ValueError, match=f"image {missing} .*no tile"):
        build()(features(2), torch.randn(2, TOKENS, H), torch.tensor(owner))


def test_two_tensors_are_enough():
    """Pixel features of one encoder, tokens of another: without object queries, with one tile an image."""
    sefe = SEFE(pixel_channels=CHANNELS, object_channels=None, hidden_size=H, num_heads=HEADS, separators=False)
    for parameter in sefe.enrich.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    pixels, semantic = torch.randn(2, PIXELS, CHANNELS), torch.randn(2, TOKENS, H)
    with torch.no_grad():
        tokens = sefe(pixels, semantic)
        projected = sefe.pixel_proj(pixels)
        for image in range(2):
            expected = plain_enrich(sefe.enrich, projected[image], semantic[image])
            torch.testing.assert_close(tokens.pixels[image], expected, atol=1e-5, rtol=1e-4)
    assert tokens.objects.shape == (2, 0, H) and tokens.object_valid.shape == (2, 0)
    assert torch.equal(tokens.semantic, semantic)
    sefe(pixels, semantic).pixels.square().sum().backward()
    unused = [name for name, parameter in sefe.named_parameters() if parameter.grad is None]
    assert not unused, "every parameter has a part in the loss, as DDP asks for"


def test_tensors_give_what_pixel_features_give():
    sefe, inputs = build(), features(2)
    semantic, owner = torch.randn(3, TOKENS, H), torch.tensor([0, 1, 1])
    whole, plain = sefe(inputs, semantic, owner), sefe(inputs.pixels, semantic, owner, inputs.objects)
    assert torch.equal(whole.pixels, plain.pixels) and torch.equal(whole.objects, plain.objects)
    assert plain.object_valid.all() and plain.object_valid.shape == (2, Q)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda sefe: sefe(torch.randn(2, 4, CHANNELS), torch.randn(2, 3, H)),
            "made for object features, and there are none",
        ),
        (
            lambda sefe: sefe(features(2), torch.randn(2, 3, H), None, torch.randn(2, Q, 2 * D)),
            "object features of their own",
        ),
        (lambda sefe: sefe(features(2), torch.randn(3, 3, H)), "3 tiles of 2 images: without tile_image"),
        (
            lambda sefe: SEFE(CHANNELS, None, H)(features(2), torch.randn(2, 3, H)),
            "made without a projection",
        ),
        (lambda sefe: SEFE(CHANNELS, 2 * D, H), "query_channels=None belong together"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(build())


def test_attention_without_padding_is_attention_over_all():
    fuse = SemanticAttention(H, HEADS)
    tokens, context = torch.randn(2, 5, H), torch.randn(2, 3, H)
    nothing_void = torch.zeros(2, 3, dtype=torch.bool)
    torch.testing.assert_close(fuse(tokens, context), fuse(tokens, context, nothing_void))


def test_features_of_the_width_of_the_llm_are_taken_as_they_are():
    """Where a model's own projector comes before."""
    torch.manual_seed(0)
    sefe = SEFE(pixel_channels=None, object_channels=None, hidden_size=H, num_heads=HEADS, separators=False)
    pixels, semantic = torch.randn(2, PIXELS, H), torch.randn(2, TOKENS, H)
    with torch.no_grad():
        tokens = sefe(pixels, semantic)
        for image in range(2):
            expected = plain_enrich(sefe.enrich, pixels[image], semantic[image])
            torch.testing.assert_close(tokens.pixels[image], expected, atol=1e-5, rtol=1e-4)
    assert {name.split(".")[0] for name, _ in sefe.named_parameters()} == {"enrich"}
