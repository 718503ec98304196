"""From samples to a batch."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lira_plugin.structures import IGNORE_INDEX, GroundingBatch, GroundingSample, TokenKind


class Collated(TypedDict):
    """What MMEngine hands to ``model.forward``."""

    batch: GroundingBatch
    data_samples: list[GroundingSample]


def grounding_collate(samples: Sequence[GroundingSample]) -> Collated:
    """Pad the sequences on the right; concatenate everything else with owner indices.

    An image that several samples show (``image_key``) comes once.

    Raises:
        ValueError: samples with the same ``image_key`` have images of different tiles.
    """
    holders, first_image = _holders(samples)
    masks_before = _offsets([len(sample.masks) for sample in samples])
    tile_counts = [count for sample in holders for count in sample.tile_counts]
    lengths = torch.tensor([len(sample.input_ids) for sample in samples])
    batch = GroundingBatch(
        input_ids=_pad([sample.input_ids for sample in samples], 0),
        attention_mask=torch.arange(int(lengths.max())) < lengths[:, None],
        labels=_pad([sample.labels for sample in samples], IGNORE_INDEX),
        kinds=_pad([sample.kinds for sample in samples], TokenKind.TEXT),
        pixel_images=torch.cat([sample.pixel_images for sample in holders]),
        block_sample=_owners([len(sample.pixel_images) for sample in samples]),
        block_image=torch.cat([torch.arange(len(s.pixel_images)) + first for s, first in zip(samples, first_image)]),
        tiles=torch.cat([sample.tiles for sample in holders]),
        tile_image=_owners(tile_counts),
        view_tiles=torch.cat([sample.view_tiles for sample in samples]),
        view_sample=_owners([len(sample.view_tiles) for sample in samples]),
        masks=torch.cat([sample.masks for sample in samples]),
        mask_image=torch.cat([torch.full((len(s.masks),), first) for s, first in zip(samples, first_image)]),
        mask_labels=torch.cat([sample.mask_labels for sample in samples]),
        seg_mask_index=torch.cat([sample.seg_mask_index + first for sample, first in zip(samples, masks_before)]),
        dropped_regions=torch.tensor([sample.dropped_regions for sample in samples]),
        empty_regions=torch.tensor([sample.empty_regions for sample in samples]),
        cut_answers=torch.tensor([sample.cut_answers for sample in samples]),
    )
    return {"batch": batch, "data_samples": list(samples)}


def _holders(samples: Sequence[GroundingSample]) -> tuple[list[GroundingSample], list[int]]:
    """The samples that bring images, and the index of the first image of every sample."""
    holders: dict[int | str, tuple[GroundingSample, int]] = {}
    first_image, num_images = [], 0
    for index, sample in enumerate(samples):
        key = index if sample.image_key is None else sample.image_key
        if key not in holders:
            holders[key] = sample, num_images
            num_images += len(sample.pixel_images)
        holder, first = holders[key]
        if sample.tile_counts != holder.tile_counts:
            raise ValueError(
                f"{sample.name} and {holder.name} have the image_key {key!r} but {sample.tile_counts} and {holder.tile_counts} "
                "tiles: give them different keys, or prepare the image in the same way"
            )
        first_image.append(first)
    return [holder for holder, _ in holders.values()], first_image


def _pad(sequences: list[Tensor], value: int) -> Tensor:
    return pad_sequence(sequences, batch_first=True, padding_value=value)


def _owners(counts: list[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.long))


def _offsets(counts: list[int]) -> list[int]:
    return [sum(counts[:index]) for index in range(len(counts))]
