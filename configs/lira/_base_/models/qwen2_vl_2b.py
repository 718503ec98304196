"""What Qwen2-VL-2B (Qwen2-1.5B) changes; leaves merge it into the model, the tokenizer and the template of the data.

The paper names the LLM alone: tiles and template are those of Qwen2-VL and of the other sizes, 256 tokens a tile of 448 pixels.
"""

from lira_plugin.convert import qwen2_from_qwen2_vl, qwen2_tokenizer, semantic_encoder_from_qwen2_vl

# isort: split
from mmengine.config import read_base

with read_base():
    from ..paths import *

template_qwen2 = "qwen_chat"
tokenizer_qwen2 = dict(type=qwen2_tokenizer, **qwen2_vl_2b)
model_qwen2 = dict(
    tokenizer=tokenizer_qwen2,
    semantic_encoder=dict(type=semantic_encoder_from_qwen2_vl, published="Qwen2-VL-2B", **qwen2_vl_2b),
    sefe=dict(hidden_size=1536),
    llm=dict(llm=dict(type=qwen2_from_qwen2_vl, published="Qwen2-VL-2B", **qwen2_vl_2b)),
    mask_decoder=dict(hidden_size=1536),
)
