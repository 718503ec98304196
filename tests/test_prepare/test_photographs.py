import json
from importlib import resources

import numpy as np
import pytest
from skimage import data, filters, measure

from lira_plugin.datasets import CocoPhraseDataset
from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.prepare.photographs import TRAIN, VAL, write_photographs
from lira_plugin.structures import decode_segmentation, decode_union


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_photographs(folder)
    return folder


@pytest.mark.parametrize(("split", "count"), [("train", TRAIN), ("val", VAL)])
def test_they_are_read_as_ones_own_data(own, split, count):
    content = json.loads((own / f"{split}.json").read_text())
    assert len(content["images"]) == count
    dataset = CocoPhraseDataset(str(own / f"{split}.json"), str(own / "images"), source=f"own/{split}")
    rng = np.random.default_rng(0)
    records = [dataset.get_record(index, rng) for index in range(len(dataset))]
    assert len({record.image_path for record in records}) == count
    assert not dataset.findings
    for record in records:
        height, width = read_rgb(record.image_path).shape[:2]
        assert record.size == (height, width)
        assert decode_union(record.regions[0].segmentations, height, width).mean() >= 0.015


def test_the_outlines_of_the_coins_are_those_that_a_threshold_finds():
    outlines = json.loads(resources.files("lira_plugin.prepare").joinpath("photographs.json").read_text())
    coins = data.coins()
    drawn = np.zeros(coins.shape, bool)
    for outline in outlines["annotations"]:
        if outline["image_id"] == outlines["images"][0]["id"]:
            drawn |= decode_segmentation(outline["segmentation"], *coins.shape)
    assert measure.label(drawn).max() == 24
    found = coins > filters.threshold_local(coins, 151)
    assert found[drawn].mean() > 0.75
    assert found[~drawn].mean() < 0.25


def test_the_same_seed_gives_the_same_pictures_and_nothing_is_overwritten(own, tmp_path):
    write_photographs(tmp_path / "again")
    write_photographs(tmp_path / "other", seed=1)
    for split in ("train", "val"):
        text = (own / f"{split}.json").read_text()
        assert (tmp_path / "again" / f"{split}.json").read_text() == text
        assert (tmp_path / "other" / f"{split}.json").read_text() != text
    with pytest.raises(FileExistsError, match="train.json and val.json"):
        write_photographs(own)
