"""Stage 2 of LIRA over Qwen2-1.5B: that of LIRA-2B with Qwen2-VL-2B, its vision tower, tokenizer and ChatML."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen2_vl_2b import *
    from .lira_2b import *

work_dir = f"{root}/qwen2_1_5b"
model.merge(model_qwen2)
model.init_from[-1].update(
    path=f"{root}/qwen2_1_5b_pretrain", made_by="xtuner train configs/lira/lira_qwen2_1_5b_pretrain.py"
)
# Query, key and value are matrices of their own here. The head is tied to the embedding, which is trained in full.
model.llm.lora.update(
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], shared_inputs=[]
)
