"""What InternVL2-8B (InternLM2.5-7B) changes; leaves merge it into the model."""

from mmengine.config import read_base

with read_base():
    from ..paths import *

model_8b = dict(
    tokenizer=dict(**internvl2_8b),
    semantic_encoder=dict(published="InternVL2-8B", **internvl2_8b),
    sefe=dict(hidden_size=4096),
    llm=dict(llm=dict(published="InternVL2-8B", **internvl2_8b)),
    mask_decoder=dict(hidden_size=4096),
)
