"""A segmenter of words for images of 96 pixels, over the pixel encoder of the tiny LIRA."""

from example_project import WordSegmenter
from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_model import *

    from .own_code import *

model = dict(
    type=WordSegmenter,
    tokenizer=tokenizer,
    special_tokens=special_tokens,
    pixel_encoder=pixel_encoder,
    mask_decoder=model.mask_decoder,
    hidden_size=hidden_size,
    chat_template=model.llm.chat_template,
    frozen=["pixel_encoder"],
    init_from=[segmenter_weights],
)
