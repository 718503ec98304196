"""Collating samples of different kinds, and what MMEngine does with the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor

from lira_plugin.datasets import grounding_collate
from lira_plugin.structures import IGNORE_INDEX, GroundingBatch, GroundingSample, Region, TokenKind

SIDE, TILE = 8, 4


def sample(name, length, images=1, tiles=2, views=0, masks=0, segs=(), dropped=0, seed=0):
    """A sample of random content; ``segs`` are indices into its own masks."""
    generator = torch.Generator().manual_seed(hash((length, seed)) % 1000)

    def random(*shape, high=255):
        return torch.randint(1, high, shape, generator=generator)

    return GroundingSample(
        source="src",
        record_id=name,
        input_ids=random(length),
        labels=random(length),
        kinds=random(length, high=7),
        pixel_images=random(images, 3, SIDE, SIDE).to(torch.uint8),
        tiles=random(images * tiles, 3, TILE, TILE).to(torch.uint8),
        tile_counts=(tiles,) * images,
        view_tiles=random(views, 3, TILE, TILE).to(torch.uint8),
        masks=random(masks, SIDE, SIDE, high=3) > 1,
        mask_labels=random(masks),
        seg_mask_index=torch.tensor(segs, dtype=torch.long),
        dropped_regions=dropped,
        image=np.zeros((2, 3, 3), np.uint8),
        regions=(Region("x", ()),),
        question="q",
    )


@pytest.fixture
def samples():
    return [
        sample("refer", 9, tiles=3, views=2, masks=3, segs=(0, 0, 2, 2), seed=1),
        sample("text only", 4, images=0, seed=2),
        sample("vqa", 6, tiles=1, seed=3),
        sample("caption", 12, tiles=5, views=1, masks=3, segs=(2, 2), dropped=2, seed=4),
        sample("two images", 7, images=2, tiles=2, seed=5),
        sample("without views", 5, tiles=1, masks=1, segs=(0,), seed=6),
    ]


def test_sequences_are_padded_on_the_right(samples):
    batch = grounding_collate(samples)["batch"]
    assert batch.input_ids.shape == batch.labels.shape == batch.kinds.shape == batch.attention_mask.shape == (6, 12)
    assert batch.attention_mask.dtype == torch.bool
    for row, one in enumerate(samples):
        length = len(one.input_ids)
        assert batch.attention_mask[row].tolist() == [True] * length + [False] * (12 - length)
        for key, padding in (("input_ids", 0), ("labels", IGNORE_INDEX), ("kinds", TokenKind.TEXT)):
            assert getattr(batch, key)[row].tolist() == getattr(one, key).tolist() + [padding] * (12 - length), key
            assert getattr(batch, key).dtype == torch.long


def test_owners(samples):
    batch = grounding_collate(samples)["batch"]
    assert batch.block_sample.tolist() == [0, 2, 3, 4, 4, 5]
    assert batch.block_image.tolist() == [0, 1, 2, 3, 4, 5]
    assert batch.tile_image.tolist() == [0] * 3 + [1] + [2] * 5 + [3] * 2 + [4] * 2 + [5], "images, not samples"
    assert batch.view_sample.tolist() == [0, 0, 3]
    assert batch.mask_image.tolist() == [0, 0, 0, 2, 2, 2, 5], "images, not samples"
    assert batch.dropped_regions.tolist() == [0, 0, 0, 2, 0, 0]
    for key in (
        "block_sample",
        "block_image",
        "tile_image",
        "view_sample",
        "mask_image",
        "dropped_regions",
        "seg_mask_index",
    ):
        assert getattr(batch, key).dtype == torch.long, key


def test_each_seg_finds_its_own_mask(samples):
    batch = grounding_collate(samples)["batch"]
    assert batch.seg_mask_index.tolist() == [0, 0, 2, 2, 5, 5, 6]
    wanted = torch.cat([one.masks[one.seg_mask_index] for one in samples])
    assert torch.equal(batch.masks[batch.seg_mask_index], wanted)
    owner_of_image = batch.block_sample[batch.mask_image[batch.seg_mask_index]]
    assert owner_of_image.tolist() == [0, 0, 0, 0, 3, 3, 5], "and each lies in its own sample"


def test_the_content_of_each_sample_can_be_got_back(samples):
    collated = grounding_collate(samples)
    batch = collated["batch"]
    assert [one.record_id for one in collated["data_samples"]] == [one.record_id for one in samples]
    for row, one in enumerate(samples):
        images = (batch.block_sample == row).nonzero()[:, 0]
        tiles = torch.isin(batch.tile_image, images)
        masks = torch.isin(batch.mask_image, images)
        assert torch.equal(batch.pixel_images[images], one.pixel_images)
        assert torch.equal(batch.tiles[tiles], one.tiles)
        assert torch.bincount(batch.tile_image, minlength=len(batch.pixel_images))[images].tolist() == list(
            one.tile_counts
        )
        assert torch.equal(batch.view_tiles[batch.view_sample == row], one.view_tiles)
        assert torch.equal(batch.masks[masks], one.masks)
        assert torch.equal(batch.mask_labels[masks], one.mask_labels)


@pytest.mark.parametrize("key", ["pixel_images", "tiles", "view_tiles"])
def test_pictures_stay_bytes(samples, key):
    assert getattr(grounding_collate(samples)["batch"], key).dtype == torch.uint8


def test_a_batch_of_text_alone():
    batch = grounding_collate([sample("a", 3, images=0), sample("b", 5, images=0)])["batch"]
    assert batch.pixel_images.shape == (0, 3, SIDE, SIDE) and batch.tiles.shape == (0, 3, TILE, TILE)
    assert batch.masks.shape == (0, SIDE, SIDE) and batch.masks.dtype == torch.bool
    for key in (
        "block_sample",
        "block_image",
        "tile_image",
        "view_sample",
        "mask_image",
        "mask_labels",
        "seg_mask_index",
    ):
        assert getattr(batch, key).shape == (0,) and getattr(batch, key).dtype == torch.long, key


def test_a_batch_of_the_segmenter_stage_has_no_sequence():
    batch = grounding_collate([sample("a", 0, tiles=0, masks=2), sample("b", 0, tiles=0, masks=1)])["batch"]
    assert batch.input_ids.shape == batch.attention_mask.shape == (2, 0)
    assert batch.mask_image.tolist() == [0, 0, 1] and len(batch.tiles) == 0


def test_a_sample_alone_is_itself():
    one = sample("a", 6, tiles=2, views=1, masks=2, segs=(1, 1))
    batch = grounding_collate([one])["batch"]
    for key in ("input_ids", "labels", "kinds"):
        assert torch.equal(getattr(batch, key)[0], getattr(one, key))
    assert batch.attention_mask.all() and torch.equal(batch.seg_mask_index, one.seg_mask_index)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_mmengine_moves_every_tensor_of_the_batch(samples, device):
    """It walks named tuples, and leaves a plain data class where it is: the samples stay on the CPU."""
    collated = grounding_collate(samples)
    moved = BaseDataPreprocessor().to(device).cast_data(collated)
    assert type(moved["batch"]) is GroundingBatch
    for name, before, after in zip(GroundingBatch._fields, collated["batch"], moved["batch"]):
        assert after.device.type == device and after.dtype == before.dtype and after.shape == before.shape, name
        if device == "cpu":
            assert torch.equal(before, after)
    assert all(one is other for one, other in zip(moved["data_samples"], samples))
    assert moved["data_samples"][0].tiles.device.type == "cpu"


def test_a_worker_process_hands_over_the_same_batch(samples):
    loader = torch.utils.data.DataLoader(samples, batch_size=6, collate_fn=grounding_collate, num_workers=1)
    (collated,) = list(loader)
    assert type(collated["batch"]) is GroundingBatch
    for before, after in zip(grounding_collate(samples)["batch"], collated["batch"]):
        assert torch.equal(before, after)


# --- samples that show the same image ---------------------------------------------------------------------------------


def test_an_image_that_several_samples_show_comes_once(samples):
    """Beside text only, several images a sample, and samples without a key, which share nothing."""
    refer, text, vqa, _, several, _ = samples
    shown = [replace(refer, image_key="a"), text, replace(several, image_key="b"), vqa]
    again = [replace(several, image_key="b", input_ids=several.input_ids[:3]), replace(refer, image_key="a"), vqa]
    batch = grounding_collate([*shown, *again])["batch"]
    assert batch.block_sample.tolist() == [0, 2, 2, 3, 4, 4, 5, 6]
    assert batch.block_image.tolist() == [0, 1, 2, 3, 1, 2, 0, 4]
    assert torch.equal(batch.pixel_images, torch.cat([s.pixel_images for s in (refer, several, vqa, vqa)]))
    assert torch.equal(batch.tiles, torch.cat([s.tiles for s in (refer, several, vqa, vqa)]))
    assert batch.tile_image.tolist() == [0] * 3 + [1] * 2 + [2] * 2 + [3, 4]
    assert batch.mask_image.tolist() == [0] * 6 and batch.view_sample.tolist() == [0, 0, 5, 5]
    assert batch.seg_mask_index.tolist() == [0, 0, 2, 2, 3, 3, 5, 5], "masks are not shared"


def test_an_image_prepared_in_two_ways_is_an_error(samples):
    first, second = replace(samples[0], image_key="a.jpg"), replace(samples[2], image_key="a.jpg")
    with pytest.raises(ValueError, match=r"src record vqa and src record refer .*'a.jpg'.*\(1,\) and \(3,\) tiles"):
        grounding_collate([first, second])
