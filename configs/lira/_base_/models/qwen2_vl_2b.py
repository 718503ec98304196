"""What Qwen2-VL-2B (Qwen2-1.5B) changes; leaves merge it into the model.

The paper names the LLM alone: tiles and template are those of Qwen2-VL and of the other sizes, 256 tokens a tile of 448 pixels.
"""

from mmengine.config import read_base

with read_base():
    from ..paths import *

model_qwen2 = dict(
    tokenizer=dict(**qwen2_vl_2b),
    semantic_encoder=dict(published="Qwen2-VL-2B", **qwen2_vl_2b),
    sefe=dict(hidden_size=1536),
    llm=dict(llm=dict(published="Qwen2-VL-2B", **qwen2_vl_2b), chat_template="qwen_chat"),
    mask_decoder=dict(hidden_size=1536),
)
