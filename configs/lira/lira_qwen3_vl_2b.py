"""Stage 2 of LIRA over Qwen3-VL-2B (Qwen3-1.7B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen_vl_bases import *
    from .lira_2b import *

work_dir, first_stage = f"{root}/qwen3_vl_2b", "lira_qwen3_vl_2b_pretrain"
model.merge(bases["Qwen3-VL-2B"])
model.init_from[-1].update(path=f"{work_dir}_pretrain", made_by=f"xtuner train configs/lira/{first_stage}.py")
# Query, key and value are matrices of their own. The head is tied to the embedding, which is trained in full.
model.llm.lora.update(
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], shared_inputs=[]
)
