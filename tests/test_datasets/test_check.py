"""Checking a data set before a training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lira_plugin.datasets import Draw, GroundingDataset, MixtureDataset
from lira_plugin.datasets.check import check_dataset
from lira_plugin.structures import Conversation, GroundingSample, Record, TokenKind, Turn


def sample_of(source: str, number: int) -> GroundingSample:
    """A sample of ``number`` text rows, one pixel row and ``number`` views and masks."""
    kinds = torch.tensor([TokenKind.TEXT] * number + [TokenKind.PIXEL])
    return GroundingSample(
        source=source,
        record_id=str(number),
        input_ids=torch.zeros(number + 1, dtype=torch.long),
        labels=torch.zeros(number + 1, dtype=torch.long),
        kinds=kinds,
        pixel_images=torch.zeros((1, 3, 2, 2), dtype=torch.uint8),
        tiles=torch.zeros((1, 3, 2, 2), dtype=torch.uint8),
        tile_counts=(1,),
        view_tiles=torch.zeros((number, 3, 2, 2), dtype=torch.uint8),
        masks=torch.zeros((number, 2, 2), dtype=torch.bool),
        mask_labels=torch.zeros(number, dtype=torch.long),
        seg_mask_index=torch.zeros(0, dtype=torch.long),
    )


class Numbers(GroundingDataset):
    """Record i gives a sample of i + 1 text rows; remembers what was read."""

    def __init__(self, source, count):
        super().__init__(source)
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def get_record(self, index, rng):
        return Record(self.source, str(index), None, Conversation((Turn("q", "a"),)))

    def __getitem__(self, draw):
        assert isinstance(draw, Draw)
        self.read.append((draw.index, draw.draw_index))
        return sample_of(self.source, draw.index + 1)


def checks(dataset, **settings):
    return list(check_dataset(dataset, show_progress=False, **settings))


def test_what_is_counted():
    [check] = checks(Numbers("a/train", 5))
    assert (check.source, check.records, check.samples) == ("a/train", 5, 5)
    assert (check.text, check.max_text) == (sum(range(1, 6)), 5)
    assert (check.positions, check.max_positions) == (sum(range(2, 7)), 6)
    assert (check.views, check.masks) == (15, 15)
    assert check.errors == check.dropped == []


def test_each_part_of_a_mixture_is_read_once_whatever_its_repeats():
    first, second = Numbers("a/train", 3), Numbers("b/train", 2)
    found = checks(MixtureDataset([first, second], repeats=[4, 3]))
    assert [(check.source, check.samples) for check in found] == [("a/train", 3), ("b/train", 2)]
    assert first.read == [(0, 0), (1, 0), (2, 0)] and second.read == [(0, 0), (1, 0)]


def test_some_records_several_times():
    dataset = Numbers("a/train", 7)
    [check] = checks(dataset, every=3, draws=2)
    assert dataset.read == [(0, 0), (0, 1), (3, 0), (3, 1), (6, 0), (6, 1)]
    assert (check.records, check.samples) == (7, 6)


def test_workers_count_the_same():
    assert checks(Numbers("a/train", 40), num_workers=2) == checks(Numbers("a/train", 40))


class Broken(Numbers):
    def __getitem__(self, draw):
        if draw.index == 1:
            raise ValueError("b/train record 7: no image at x.jpg")
        if draw.index == 2:
            raise KeyError("height")
        sample = super().__getitem__(draw)
        return replace(sample, dropped_regions=2) if draw.index == 3 else sample


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_is_wrong_is_told_and_the_rest_is_read(num_workers):
    [check] = checks(Broken("b/train", 5), num_workers=num_workers)
    assert check.samples == 3
    assert check.errors == [
        "b/train record 7: no image at x.jpg",
        "b/train, index 2 of the data set: KeyError('height')",
    ]
    assert check.dropped == ["b/train record 4: max_length leaves out 2 regions"]


def test_each_kind_of_loss_is_a_line_with_its_record():
    class Lossy(Numbers):
        def __getitem__(self, draw):
            return replace(super().__getitem__(draw), dropped_regions=draw.index, empty_regions=2, cut_answers=1)

    [check] = checks(Lossy("b/train", 2))
    empty = "2 regions have no pixel in the letterboxed square and are not learnt"
    assert check.dropped == [
        f"b/train record 1: {empty}",
        "b/train record 1: max_length cuts 1 answers",
        "b/train record 2: max_length leaves out 1 regions",
        f"b/train record 2: {empty}",
        "b/train record 2: max_length cuts 1 answers",
    ]


@pytest.mark.parametrize("settings", [{"draws": 0}, {"every": 0}])
def test_a_check_of_nothing_is_an_error(settings):
    with pytest.raises(ValueError, match="must be positive"):
        checks(Numbers("a/train", 2), **settings)


def test_draws_read_the_samples_of_a_training():
    """Sentences are drawn from (seed, draw, index), as :class:`GroundingDataset` does."""

    class Drawn(Numbers):
        def __getitem__(self, draw):
            rng = np.random.default_rng((self.seed, draw.draw_index, draw.index))
            return sample_of(self.source, int(rng.integers(1, 50)))

    [check] = checks(Drawn("a/train", 4), draws=3)
    drawn = [
        int(np.random.default_rng((0, number, index)).integers(1, 50)) for index in range(4) for number in range(3)
    ]
    assert (check.text, check.max_text) == (sum(drawn), max(drawn))
