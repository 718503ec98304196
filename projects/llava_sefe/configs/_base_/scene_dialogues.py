"""The scenes' LLaVA files, read by xtuner's own classes."""

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import TestLoop
from transformers import AutoTokenizer, CLIPImageProcessor
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.dataset.map_fns import llava_map_fn, template_map_fn_factory

# isort: split
from llava_sefe import TurnAccuracy, read_in_one_process
from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_paths import *

    from .own_code import *

image_side = 128
dialogues = dict(
    type=read_in_one_process,
    data_path=f"{data_root}/llava/scenes_train.json",
    image_folder=f"{data_root}/images",
    tokenizer=dict(
        type=AutoTokenizer.from_pretrained,
        pretrained_model_name_or_path=f"{data_root}/tokenizer",
        padding_side="right",
    ),
    image_processor=dict(  # the crop says how large an image of nothing is, for dialogues without one
        type=CLIPImageProcessor,
        size=dict(height=image_side, width=image_side),
        crop_size=dict(height=image_side, width=image_side),
        do_center_crop=False,
    ),
    dataset_map_fn=llava_map_fn,
    template_map_fn=dict(
        type=template_map_fn_factory,
        template=dict(
            INSTRUCTION="<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n",
            SUFFIX="<|im_end|>",
            SUFFIX_AS_EOS=True,
        ),
    ),
    max_length=512,
    max_dataset_length=2000,  # more than the training draws
    pad_image_to_square=True,
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dialogues,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=default_collate_fn),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dialogues | dict(data_path=f"{data_root}/llava/scenes_val.json", max_dataset_length=None),
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate_fn),
)
test_evaluator = dict(type=TurnAccuracy)
test_cfg = dict(type=TestLoop)
