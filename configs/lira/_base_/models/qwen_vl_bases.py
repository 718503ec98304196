"""What Qwen2.5-VL and Qwen3-VL change; leaves merge one of them into the model. They need transformers >= 4.57.

Tiles have 256 tokens as everywhere: those of Qwen2.5-VL are of 448 pixels, those of Qwen3-VL of 512, for its patches are larger.
"""

from mmengine.config import read_base

with read_base():
    from ..paths import *

bases = {
    name: dict(
        tokenizer=dict(**qwen_vl[name]),
        semantic_encoder=dict(published=name, tile_size=tile_size, **qwen_vl[name]),
        sefe=dict(hidden_size=hidden_size),
        llm=dict(llm=dict(published=name, **qwen_vl[name]), chat_template=template),
        mask_decoder=dict(hidden_size=hidden_size),
    )
    for name, hidden_size, tile_size, template in (  # width of the LLM
        ("Qwen2_5-VL-3B", 2048, 448, "qwen_chat"),
        ("Qwen2_5-VL-7B", 3584, 448, "qwen_chat"),
        ("Qwen3-VL-2B", 2048, 512, "qwen3_chat"),
        ("Qwen3-VL-4B", 2560, 512, "qwen3_chat"),
    )
}
