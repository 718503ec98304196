"""Stage 2 of LIRA-2B: questions, referring segmentation and grounded captions together, with LoRA and SEFE."""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.paper_data import *
    from ._base_.default_runtime import *
    from ._base_.models.lira_internvl2 import *
    from ._base_.schedules.one_epoch import *

work_dir = f"{root}/2b"
pretrain_weights = dict(
    path=f"{root}/2b_pretrain",
    may_lack=["llm", "semantic_encoder", "pixel_encoder", "sefe.enrich"],
    made_by="xtuner train configs/lira/lira_2b_pretrain.py",
)
model.init_from.append(pretrain_weights)
# The published adapters are of the fused wqkv: query, key and value have one matrix A.
model.llm.update(
    lora=dict(
        r=128,
        lora_alpha=256,
        lora_dropout=0.05,
        bias="none",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"],
        shared_inputs=["q_proj", "k_proj", "v_proj"],
        train_embeddings=True,
    )
)
default_hooks.checkpoint.update(interval=8000)
