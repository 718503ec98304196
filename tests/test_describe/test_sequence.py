"""Rows of sequences against the real transforms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny_model import LAYOUT, TILE, caption_record, make_samples, tiny_tokenizer

from lira_plugin.datasets import ILVC, LetterboxImage, TileImage, TokenizeConversation
from lira_plugin.describe import SequencePlan
from lira_plugin.structures import InputSpec, VisualLayout

FULL = SequencePlan(VisualLayout(), max_text=1024, tile_size=448, min_tiles=1, max_tiles=6)


@pytest.mark.parametrize(("size", "tiles"), [((480, 640), 7), ((500, 500), 1), ((100, 700), 7)])
def test_tiles_are_those_of_the_transform(size, tiles):
    cut = TileImage(size=448, max_tiles=6)({"image": np.zeros((*size, 3), np.uint8)})["tiles"]
    assert FULL.image(*size).tiles == len(cut) == tiles


def test_rows_by_hand():
    """640 x 480 in the published recipe: 7 tiles of 256, two separators, 16 x 16 pixel tokens, 300 queries."""
    rows = FULL.image(480, 640)
    assert (rows.semantic, rows.separators, rows.pixels, rows.objects) == (1792, 2, 256, 300)
    assert rows.total == 2350
    assert FULL.length(rows, text=100, regions=3) == 2350 + 100 + 3 * 256
    assert FULL.length(rows, text=9999, regions=0) == 2350 + 1024, "text is cut to max_length"


def test_without_semantic_tokens():
    plan = SequencePlan(VisualLayout(semantic=False), 1024, 448, 1, 6)
    assert plan.image(480, 640).total == 558


def test_the_length_is_that_of_a_real_sample(tmp_path):
    record = caption_record(tmp_path, "a", "A dog sits on grass.", ["dog", "grass"])
    (sample,) = make_samples([record], max_tiles=4)
    height, width = np.array(Image.open(record.image_path)).shape[:2]
    plan = SequencePlan(LAYOUT, max_text=1024, tile_size=TILE, min_tiles=1, max_tiles=4)
    text = int((sample.kinds == 0).sum())
    assert plan.length(plan.image(height, width), text, regions=2) == len(sample.input_ids)
    assert plan.image(height, width).tiles == len(sample.tiles)
    assert torch.is_tensor(sample.tiles)


def test_it_is_read_from_a_pipeline_by_name_and_from_the_model():
    pipeline = {
        "letterbox": {"type": LetterboxImage, "size": 96},
        "interleave": {"type": ILVC, "prob": 0.5},
        "tile": {"type": TileImage, "max_tiles": 4},
        "tokenize": {"type": TokenizeConversation, "max_length": 99, "tokenizer": {"type": "missing"}},
    }
    asked = {"tile_size": 64, "tokens_per_tile": 4, "pixel_cell": 32, "object_tokens": 5, "ilvc": True}
    spec = InputSpec(**asked, semantic=True, tokenizer=tiny_tokenizer())
    plan = SequencePlan.of_pipeline(pipeline, spec)
    assert (plan.max_text, plan.tile_size, plan.min_tiles, plan.max_tiles, plan.view_share) == (99, 64, 1, 4, 0.5)
    described = plan.describe([(64, 64)])
    assert described["images"]["64x64"]["total"] == 4 + 2 + 9 + 5
    assert described["region"] == 4
    assert SequencePlan.of_pipeline(pipeline, replace(spec, semantic=False)).image(300, 300).total == 2 + 9 + 5
    pipeline["tile"]["size"] = 32
    with pytest.raises(ValueError, match=r"pipeline\.tile\.size=32, but model\.semantic_encoder makes tile_size=64"):
        SequencePlan.of_pipeline(pipeline, spec)
