"""What InternVL2.5, InternVL3 and InternVL3.5 change; leaves merge one of them into the model.

The folder says all else: LLM, tower, tokenizer and template. It may be the original one or that for transformers (``-hf``).
"""

from lira_plugin.convert import template_from_published

# isort: split
from mmengine.config import read_base

with read_base():
    from ..paths import *

bases = {
    name: dict(
        tokenizer=dict(**internvl[name]),
        semantic_encoder=dict(published=name, **internvl[name]),
        sefe=dict(hidden_size=hidden_size),
        llm=dict(
            llm=dict(published=name, **internvl[name]),
            chat_template=dict(type=template_from_published, published=name, **internvl[name]),
        ),
        mask_decoder=dict(hidden_size=hidden_size),
    )
    for name, hidden_size in (  # of the LLM
        ("InternVL2_5-1B", 896),
        ("InternVL2_5-2B", 2048),
        ("InternVL2_5-4B", 2048),
        ("InternVL2_5-8B", 4096),
        ("InternVL3-1B", 896),
        ("InternVL3-2B", 1536),
        ("InternVL3-8B", 3584),
        ("InternVL3_5-1B", 1024),  # these need transformers >= 4.57
        ("InternVL3_5-2B", 2048),
        ("InternVL3_5-4B", 2560),
        ("InternVL3_5-8B", 4096),
    )
}
