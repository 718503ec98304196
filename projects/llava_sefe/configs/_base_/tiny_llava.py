"""A LLaVA of a million parameters: a new CLIP tower, the LLM and the semantic encoder of the tiny LIRA's first stages."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import SEFE

# isort: split
from llava_sefe import SEFELLaVA
from mmengine.config import read_base
from transformers import CLIPVisionConfig, CLIPVisionModel

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_model import *

    from .own_code import *

clip_channels = 96
model = dict(
    type=SEFELLaVA,
    llm=model.llm.llm,
    visual_encoder=dict(
        type=CLIPVisionModel,
        config=dict(
            type=CLIPVisionConfig,
            hidden_size=clip_channels,
            intermediate_size=2 * clip_channels,
            num_hidden_layers=3,
            num_attention_heads=3,
            image_size=96,
            patch_size=16,
        ),
    ),
    semantic_encoder=semantic_encoder,
    sefe=dict(
        type=SEFE,
        pixel_channels=None,
        object_channels=None,
        hidden_size=hidden_size,
        num_heads=4,
        separators=False,
    ),
    tiles_along=2,
    use_activation_checkpointing=False,
    init_from=[
        semantic_weights | dict(may_lack=["llm"]),
        dict(
            path=f"{root}/pretrain",
            may_lack=["semantic_encoder"],
            ignore=["sefe", "mask_decoder"],
            made_by="lira train lira_tiny_pretrain",
        ),
    ],
)
