from itertools import islice

import pytest
from torch.utils.data import DataLoader, Dataset

from lira_plugin.datasets import Draw, ResumableSampler, resumable_sampler
from lira_plugin.registry import DATA_SAMPLERS

SIZE = 10


class Echo(Dataset):
    def __len__(self):
        return SIZE

    def __getitem__(self, draw):
        assert isinstance(draw, Draw)
        return tuple(draw)


def stream(count, rank=0, world=1, monkeypatch=None, **settings):
    if monkeypatch is not None:
        monkeypatch.setattr(resumable_sampler, "get_dist_info", lambda: (rank, world))
    return list(islice(ResumableSampler(range(SIZE), **{"seed": 3, **settings}), count))


def test_numbers_count_and_every_epoch_is_a_permutation():
    draws = stream(3 * SIZE)
    assert [draw.draw_index for draw in draws] == list(range(3 * SIZE))
    epochs = [[draw.index for draw in draws[n : n + SIZE]] for n in range(0, 3 * SIZE, SIZE)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_seed_decides():
    assert stream(30) == stream(30)
    assert stream(30) != stream(30, seed=4)


def test_without_shuffling_the_order_is_that_of_the_file():
    assert [draw.index for draw in stream(25, shuffle=False)] == [n % SIZE for n in range(25)]


@pytest.mark.parametrize("world", [2, 3, 4, 16])
def test_ranks_together_are_the_single_stream(monkeypatch, world):
    single = stream(4 * world)
    ranks = [stream(4, rank, world, monkeypatch) for rank in range(world)]
    assert [draw for step in zip(*ranks) for draw in step] == single


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 3)])
@pytest.mark.parametrize("consumed", [0, 4, 10, 37])
def test_resuming_is_the_tail_of_the_uninterrupted_stream(monkeypatch, rank, world, consumed):
    whole = stream(60, rank, world, monkeypatch)
    assert stream(60 - consumed, rank, world, monkeypatch, start=consumed) == whole[consumed:]
    resumed = ResumableSampler(range(SIZE), seed=3)
    resumed.skip(5)
    resumed.skip(consumed)
    assert list(islice(resumed, 60 - consumed)) == whole[consumed:], "skip sets the place, it does not add"
    assert list(islice(resumed, 5)) == whole[consumed : consumed + 5], "each iteration begins at the same place"


def test_resuming_on_other_ranks_goes_on_with_the_same_stream(monkeypatch):
    single = stream(60)
    resumed = [stream(6, rank, 2, monkeypatch, start=24 // 2) for rank in range(2)]
    assert [draw for step in zip(*resumed) for draw in step] == single[24:36]


@pytest.mark.parametrize("workers", [0, 2])
def test_draws_reach_the_data_set(workers):
    loader = DataLoader(Echo(), batch_size=4, sampler=ResumableSampler(Echo(), seed=3), num_workers=workers)
    batches = list(islice(loader, 5))
    flat = [(int(index), int(number)) for indices, numbers in batches for index, number in zip(indices, numbers)]
    assert flat == [tuple(draw) for draw in stream(20)]


def test_built_by_name_as_mmengine_does(monkeypatch):
    built = DATA_SAMPLERS.build({"type": "ResumableSampler"}, default_args={"dataset": range(SIZE), "seed": 3})
    assert list(islice(built, 15)) == stream(15)
    assert len(built) == SIZE
    built.set_epoch(1)
    random = DATA_SAMPLERS.build({"type": "ResumableSampler"}, default_args={"dataset": range(SIZE), "seed": None})
    assert list(islice(random, 15)) == stream(15, seed=random.seed)
    monkeypatch.setattr(resumable_sampler, "get_dist_info", lambda: (0, 3))
    assert len(ResumableSampler(range(SIZE), seed=3)) == 4


def test_wrong_use():
    with pytest.raises(ValueError, match="empty"):
        ResumableSampler([], seed=0)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        ResumableSampler(range(3), seed=0, start=-1)
