"""What a LIRA asks of its data is what it does with them."""

import pytest
import torch
from support.tiny_model import (
    IMAGE,
    TEMPLATE,
    TILE,
    lira_config,
    pixel_encoder_config,
    random_images,
    tiny_lira,
    tiny_llama,
)

from lira_plugin.models import LIRA, InterleavedLLM, PixelEncoder
from lira_plugin.structures import CHAT_TEMPLATES, ChatTemplate
from lira_plugin.tokens import SpecialTokens


@torch.no_grad()
@pytest.mark.parametrize("unshuffle", [1, 2])
def test_counts_are_those_of_what_the_parts_make(unshuffle):
    pixel_channels = 16 * unshuffle**2 + 32
    config = lira_config(pixel_encoder=pixel_encoder_config(unshuffle=unshuffle))
    config["sefe"]["pixel_channels"] = pixel_channels
    model = LIRA(**config).eval()
    spec = model.input_spec
    assert spec.image_size is None, "this recipe leaves it to the data"
    pixels = model.pixel_encoder.encode(random_images(1, IMAGE))
    assert pixels.pixels.shape[1] == (IMAGE // spec.pixel_cell) ** 2
    assert pixels.objects.shape[1] == spec.object_tokens
    tokens = model.semantic_encoder(random_images(1, spec.tile_size))
    assert spec.tile_size == TILE and tokens.shape[1] == spec.tokens_per_tile


def test_settings_come_from_the_recipe():
    tokens = {"seg": "[SEG]", "reserved": ("<mark>",)}
    llm = {"type": InterleavedLLM, "llm": tiny_llama(), "chat_template": "internvl2_chat"}
    pixel_encoder = pixel_encoder_config() | {"image_size": 96}
    config = lira_config(enrich=False, special_tokens=tokens, generation={"ilvc": False}, pixel_encoder=pixel_encoder)
    spec = LIRA(**config | {"llm": llm}).input_spec
    assert (spec.semantic, spec.ilvc, spec.image_size, spec.pixel_tokens) == (False, False, 96, 9)
    assert spec.special_tokens == SpecialTokens(seg="[SEG]")
    assert spec.template == CHAT_TEMPLATES["internvl2_chat"]
    assert {"[SEG]", "<mark>"} <= spec.tokenizer.get_vocab().keys()
    plain = tiny_lira().input_spec
    assert (plain.semantic, plain.ilvc, plain.template, plain.end_token) == (True, True, None, "<|im_end|>")


def test_a_template_is_given_by_name_or_in_full():
    assert InterleavedLLM(tiny_llama(), chat_template=TEMPLATE).chat_template == ChatTemplate(**TEMPLATE)
    with pytest.raises(ValueError, match="unknown chat template 'gpt'"):
        InterleavedLLM(tiny_llama(), chat_template="gpt")


def test_an_image_size_that_pixel_tokens_do_not_divide_is_refused_when_the_encoder_is_built():
    config = pixel_encoder_config(unshuffle=2) | {"image_size": 96}
    del config["type"]
    with pytest.raises(ValueError, match="image_size=96 must be a multiple of 64"):
        PixelEncoder(**config)
    spec = PixelEncoder(**config | {"image_size": 128}).input_spec
    assert (spec.image_size, spec.pixel_cell, spec.settings["image_size"]) == (128, 64, "model.image_size")
