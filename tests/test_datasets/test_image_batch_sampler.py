"""Batches that keep images together."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler

from lira_plugin.datasets import ImageBatchSampler, MixtureDataset, ReferSegDataset, image_batches
from lira_plugin.scenes.scene_files import write_scenes


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_every_index_once_and_no_image_in_two_batches(seed, batch_size):
    images = [f"{number}.png" for number in np.random.default_rng(seed).integers(0, 12, 40)]
    batches = image_batches(images, batch_size)
    assert sorted(index for batch in batches for index in batch) == list(range(40))
    holders = [{images[index] for index in batch} for batch in batches]
    assert sum(map(len, holders)) == len(set().union(*holders))
    for batch, holder in zip(batches, holders):
        assert len(batch) <= batch_size or len(holder) == 1
    for before, after in pairwise(batches):
        first = [index for index in after if images[index] == images[after[0]]]
        assert len(before) + len(first) > batch_size, "the image would have fitted into the batch before"


def test_an_order_that_keeps_images_together_stays():
    assert image_batches(["a", "a", "b", "c", "c", "c"], 3) == [[0, 1, 2], [3, 4, 5]]
    assert image_batches([], 4) == []


def test_records_without_an_image_are_not_one_image():
    assert image_batches([None] * 5, 2) == [[0, 1], [2, 3], [4]]


def test_a_batch_has_room():
    with pytest.raises(ValueError, match="batch_size"):
        image_batches(["a"], 0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 50])
def test_the_ranks_share_the_records(tmp_path, monkeypatch, world_size):
    files = write_scenes(tmp_path / "data", 2, 4, progress=False)
    arguments = (str(files.root), "refcoco")
    parts = [ReferSegDataset(*arguments, split, str(files.images)) for split in ("val", "testA")]
    mixture = MixtureDataset([*parts, parts[0]])
    paths = [record.image_path for part in parts for record in (part.get_record(n, None) for n in range(len(part)))]
    assert mixture.image_paths == paths + paths[: len(parts[0])]
    taken = []
    for rank in range(world_size):
        monkeypatch.setattr(
            "lira_plugin.datasets.image_batch_sampler.get_dist_info", lambda rank=rank: (rank, world_size)
        )
        sampler = ImageBatchSampler(DefaultSampler(mixture, shuffle=False), batch_size=6)
        batches = list(sampler)
        assert len(sampler) == len(batches) and batches == list(sampler)
        taken.append([index for batch in batches for index in batch])
    assert sorted(index for indices in taken for index in indices) == list(range(len(mixture)))
    owners = [{mixture.image_paths[index] for index in indices} for indices in taken]
    assert sum(map(len, owners)) == len(set(paths))


def test_a_data_set_has_to_know_its_images():
    with pytest.raises(TypeError, match="image_paths"):
        ImageBatchSampler(SimpleNamespace(dataset=[1, 2]), 2)
