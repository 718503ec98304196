"""LIRA over InternVL2-2B, as the paper has it: InternViT-300M, InternLM2-1.8B, OMG-Seg."""

from lira_plugin.convert import llm_from_published, semantic_encoder_from_published, tokenizer_from_published
from lira_plugin.models import LIRA, SEFE, InterleavedLLM, MaskDecoder

# isort: split
from mmengine.config import read_base

with read_base():
    from .omg_seg_convnext_l import *

hidden_size = 2048  # of the LLM
# Spelt, ordered and reserved as in the published checkpoints.
special_tokens = dict(
    seg="[SEG]", image_id="<image_id>", phrase_start="<p>", phrase_end="</p>", reserved=("<region>", "<mark>")
)
omg_seg_weights = dict(**omg_seg, prefix="pixel_encoder.")

model = dict(
    type=LIRA,
    tokenizer=dict(type=tokenizer_from_published, **internvl2_2b),
    special_tokens=special_tokens,
    semantic_encoder=dict(type=semantic_encoder_from_published, published="InternVL2-2B", **internvl2_2b),
    pixel_encoder=pixel_encoder,
    sefe=dict(
        type=SEFE,
        pixel_channels=unshuffle**2 * channels[-1] + 2 * dims,
        object_channels=2 * dims,
        hidden_size=hidden_size,
        query_channels=unshuffle**2 * channels[-1],
        num_heads=32,
        enrich=True,
    ),
    llm=dict(  # LoRA: lira_2b.py and lira_8b.py, for stage 2 alone
        type=InterleavedLLM,
        llm=dict(type=llm_from_published, published="InternVL2-2B", **internvl2_2b),
        chat_template="internvl2_chat",
        gradient_checkpointing=True,
    ),
    mask_decoder=dict(type=MaskDecoder, hidden_size=hidden_size, query_channels=dims, num_points=12544),
    frozen=["semantic_encoder", "pixel_encoder"],
    init_from=[omg_seg_weights],
    loss_weights=dict(llm=1.0, masks=1.0, projection=0.0),
    generation=dict(ilvc=True, max_new_tokens=100, batch_size=8),
)
