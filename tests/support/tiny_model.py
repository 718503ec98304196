"""Very small parts, a very small LIRA, and samples for it from synthetic images; shared by tests."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lira_plugin.datasets import grounding_collate
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.datasets.transforms import (
    ILVC,
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    PackGroundingInputs,
    TileImage,
    TokenizeConversation,
)
from lira_plugin.models import LIRA, InterleavedLLM, InternViTEncoder, PixelEncoder
from lira_plugin.models.pixel_encoder.segmenter import Mask2FormerSegmenter
from lira_plugin.structures import Conversation, PhraseSpan, Record, Region, Turn, VisualLayout, encode_mask, refer_turn

H = 32  # width of the LLM
D = 16  # query channels
Q = 6  # object queries
IMAGE = 64  # side of the letterboxed image
TILE = 32  # side of a tile
CHANNELS = [8, 8, 16, 16]  # of the backbone
CLASSES = 3
OUTPUTS = 3  # of the mask decoder: before its two layers and after each
LAYOUT = VisualLayout(tokens_per_tile=4, pixel_tokens=4, object_tokens=Q)
TEMPLATE = {
    "system": "",
    "instruction": "<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n",
    "suffix": "<|im_end|>",
}


@cache
def _byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def tiny_tokenizer():
    """Every byte is a token; nothing but the chat tokens is special yet."""
    return PreTrainedTokenizerFast(
        tokenizer_object=deepcopy(_byte_tokenizer()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )


def tiny_llama(vocab_size=260, hidden_size=H, **settings):
    config = {
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": False,
    }
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size, hidden_size=hidden_size, intermediate_size=2 * hidden_size, **config | settings
        )
    )


def _attention(dims):
    return {"embed_dims": dims, "num_heads": 2, "dropout": 0.0, "batch_first": True}


def _ffn(dims):
    act = {"type": "ReLU", "inplace": True}
    return {"embed_dims": dims, "feedforward_channels": 2 * dims, "num_fcs": 2, "ffn_drop": 0.0, "act_cfg": act}


def segmenter_config(dims=D, num_queries=Q, num_layers=OUTPUTS - 1, channels=CHANNELS, **settings):
    positions = {"num_feats": dims // 2, "normalize": True}
    return {
        "type": Mask2FormerSegmenter,
        "in_channels": channels,
        "feat_channels": dims,
        "out_channels": dims,
        "num_things_classes": CLASSES,
        "num_stuff_classes": 0,
        "num_queries": num_queries,
        "pixel_decoder": {
            "type": "mmdet.MSDeformAttnPixelDecoder",
            "strides": [4, 8, 16, 32],
            "num_outs": 3,
            "norm_cfg": {"type": "GN", "num_groups": 4},
            "act_cfg": {"type": "ReLU"},
            "encoder": {
                "num_layers": 1,
                "layer_cfg": {
                    "self_attn_cfg": {**_attention(dims), "num_levels": 3, "num_points": 2},
                    "ffn_cfg": _ffn(dims),
                },
            },
            "positional_encoding": positions,
        },
        "positional_encoding": positions,
        "transformer_decoder": {
            "return_intermediate": True,
            "num_layers": num_layers,
            "layer_cfg": {
                "self_attn_cfg": _attention(dims),
                "cross_attn_cfg": _attention(dims),
                "ffn_cfg": _ffn(dims),
            },
            "init_cfg": None,
        },
        "loss_cls": {
            "type": "mmdet.CrossEntropyLoss",
            "use_sigmoid": False,
            "loss_weight": 2.0,
            "class_weight": [1.0] * CLASSES + [0.1],
        },
        "loss_mask": {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 5.0},
        "loss_dice": {
            "type": "mmdet.DiceLoss",
            "use_sigmoid": True,
            "activate": True,
            "naive_dice": True,
            "eps": 1.0,
            "loss_weight": 5.0,
        },
        "train_cfg": {
            "num_points": 32,
            "oversample_ratio": 3.0,
            "importance_sample_ratio": 0.75,
            "assigner": {
                "type": "mmdet.HungarianAssigner",
                "match_costs": [
                    {"type": "mmdet.ClassificationCost", "weight": 2.0},
                    {"type": "mmdet.CrossEntropyLossCost", "weight": 5.0, "use_sigmoid": True},
                    {"type": "mmdet.DiceCost", "weight": 5.0, "pred_act": True, "eps": 1.0},
                ],
            },
            "sampler": {"type": "mmdet.MaskPseudoSampler"},
        },
        **settings,
    }


def pixel_encoder_config(unshuffle=1, **segmenter):
    import timm

    return {
        "type": PixelEncoder,
        "backbone": {
            "type": timm.create_model,
            "model_name": "resnet10t",
            "features_only": True,
            "out_indices": (1, 2, 3, 4),
            "channels": CHANNELS,
            "stem_width": 8,
        },
        "segmenter": segmenter_config(**segmenter),
        "unshuffle": unshuffle,
    }


def tiny_pixel_encoder(**settings):
    config = pixel_encoder_config(**settings)
    del config["type"]
    return PixelEncoder(**config)


def feature_maps(num_images, side=64, seed=1):
    """What a backbone may give to the segmenter."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(num_images, channels, side // stride, side // stride, generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32))
    ]


def semantic_encoder_config():
    return {
        "type": InternViTEncoder,
        "vit": "vit_tiny_patch16_224",
        "vit_args": {"img_size": TILE, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2},
        "hidden_size": H,
    }


def tiny_semantic_encoder():
    config = semantic_encoder_config()
    del config["type"]
    return InternViTEncoder(**config)


def mask_decoder_config(**settings):
    return {"type": "lira_plugin.MaskDecoder", "hidden_size": H, "query_channels": D, "num_points": 64, **settings}


def tiny_llm(**settings):
    return InterleavedLLM(tiny_llama(), **settings)


def lira_config(enrich=True, llm=None, **settings):
    """Arguments of LIRA; ``llm`` are further arguments of the Llama config."""
    return {
        "tokenizer": tiny_tokenizer(),
        "semantic_encoder": semantic_encoder_config(),
        "pixel_encoder": pixel_encoder_config(),
        "sefe": {
            "type": "lira_plugin.SEFE",
            "pixel_channels": CHANNELS[-1] + 2 * D,
            "object_channels": 2 * D,
            "hidden_size": H,
            "query_channels": CHANNELS[-1],
            "num_heads": 4,
            "enrich": enrich,
        },
        "llm": {"type": InterleavedLLM, "llm": tiny_llama(**(llm or {}))},
        "mask_decoder": mask_decoder_config(),
        **settings,
    }


def tiny_lira(seed=0, **settings):
    """A LIRA with random weights, the same ones for the same seed."""
    torch.manual_seed(seed)
    return LIRA(**lira_config(**settings))


def random_images(number, side=IMAGE, seed=0):
    """(N, 3, S, S) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 3, side, side), generator=generator, dtype=torch.uint8)


def box_mask(height, width, top, left, bottom, right):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def write_image(folder, name, height=48, width=64):
    """Write blocky noise, which looks different everywhere; return the path."""
    rng = np.random.default_rng(sum(name.encode()))
    blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    pixels = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    return str(path)


def refer_record(folder, name, labels, height=48, width=64):
    """One RefSeg turn a label; its region is a box of its own."""
    masks = [box_mask(height, width, 2 + 5 * n, 3 + 7 * n, 20 + 5 * n, 25 + 7 * n) for n in range(len(labels))]
    return Record(
        "refer/test",
        name,
        write_image(folder, name, height, width),
        Conversation(tuple(refer_turn(label, number) for number, label in enumerate(labels))),
        tuple(Region(label, (encode_mask(mask),), 1) for label, mask in zip(labels, masks)),
        (height, width),
    )


def caption_record(folder, name, caption, phrases, height=48, width=64):
    """One GCG turn; each of ``phrases`` occurs in ``caption`` after the one before it."""
    spans, end = [], 0
    for number, phrase in enumerate(phrases):
        start = caption.index(phrase, end)
        end = start + len(phrase)
        spans.append(PhraseSpan(start, end, number))
    masks = [box_mask(height, width, 1 + 4 * n, 2 + 6 * n, 9 + 6 * n, 30 + 6 * n) for n in range(len(phrases))]
    return Record(
        "gcg/test",
        name,
        write_image(folder, name, height, width),
        Conversation((Turn("Describe the image.", caption, tuple(spans)),)),
        tuple(Region(phrase, (encode_mask(mask),), 2) for phrase, mask in zip(phrases, masks)),
        (height, width),
    )


def text_record(name, question="Is it red?", answer="yes", image_path=None):
    return Record("vqa/test", name, image_path, Conversation((Turn(question, answer),)))


def make_samples(
    records,
    for_generation=False,
    prob=1.0,
    max_length=1024,
    layout=LAYOUT,
    max_tiles=1,
    image_size=IMAGE,
    seed=0,
    forced=False,
):
    """Run records through the real transforms; ``forced`` answers are given as the region of the record."""
    pipeline = build_pipeline(
        [
            LoadImage(),
            DecodeRegions(),
            LetterboxImage(size=image_size),
            ILVC(size=TILE, template=TEMPLATE, prob=prob, answers=not for_generation, force_regions=forced),
            TileImage(size=TILE, max_tiles=max_tiles),
            TokenizeConversation(tiny_tokenizer(), layout, max_length=max_length),
            PackGroundingInputs(for_generation=for_generation),
        ]
    )
    rng = np.random.default_rng(seed)
    return [pipeline({"record": record, "rng": rng}) for record in records]


def make_batch(records, **settings):
    """The arguments of ``LIRA.forward``: a batch and its samples."""
    return grounding_collate(make_samples(records, **settings))


def two_image_sample(folder, label="cup"):
    """A prompt with two visual blocks; its masks are those of the first image."""
    records = [refer_record(folder, "p", [label], 40, 64), refer_record(folder, "q", [label], 64, 50)]
    first, second = make_samples(records, for_generation=True)
    joined = {
        key: torch.cat([getattr(first, key), getattr(second, key)])
        for key in ("input_ids", "labels", "kinds", "pixel_images", "tiles")
    }
    return replace(first, tile_counts=first.tile_counts + second.tile_counts, image_key="p and q", **joined)
