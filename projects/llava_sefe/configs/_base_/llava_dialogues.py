"""LLaVA-1.5's finetune data as xtuner reads them, at the size of an InternViT tile."""

from mmengine.config import read_base
from transformers import AutoTokenizer, CLIPImageProcessor
from xtuner.dataset import LLaVADataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.dataset.map_fns import llava_map_fn, template_map_fn_factory
from xtuner.dataset.samplers import LengthGroupedSampler
from xtuner.utils import PROMPT_TEMPLATE

with read_base():
    from lira_plugin.configs.lira._base_.paths import *

image_side = 448
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    pin_memory=True,
    dataset=dict(
        type=LLaVADataset,
        data_path=f"{data_root}/llava_data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json",
        image_folder=f"{data_root}/llava_data/llava_images",
        tokenizer=dict(
            type=AutoTokenizer.from_pretrained,
            pretrained_model_name_or_path=f"{weights_root}/vicuna-7b-v1.5",
            padding_side="right",
        ),
        image_processor=dict(  # the crop says how large an image of nothing is, for dialogues without one
            type=CLIPImageProcessor,
            size=dict(height=image_side, width=image_side),
            crop_size=dict(height=image_side, width=image_side),
            do_center_crop=False,
        ),
        dataset_map_fn=llava_map_fn,
        template_map_fn=dict(type=template_map_fn_factory, template=PROMPT_TEMPLATE.vicuna),
        max_length=2048 - 576 - 256,  # without the tokens of CLIP's patches and of InternViT's tile
        pad_image_to_square=True,
    ),
    sampler=dict(type=LengthGroupedSampler, length_property="modality_length", per_device_batch_size=16),
    collate_fn=dict(type=default_collate_fn),
)
