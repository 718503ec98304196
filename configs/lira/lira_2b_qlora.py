"""Stage 2 of LIRA-2B on a card of 12 GB: the LLM's own weights in 4 bits (QLoRA), and adapters of rank 32.

With ``--cfg-options model.llm.lora.r=128 model.llm.lora.lora_alpha=256`` it has the adapters of lira_2b.py, for a card of 24 GB.
The frozen semantic encoder is in bf16.
"""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_qlora"
model.llm.update(quantize="nf4")
model.semantic_encoder.update(dtype="bfloat16")
model.llm.lora.update(r=32, lora_alpha=64)
