import json

import numpy as np
import pytest

from lira_plugin.datasets import Draw, GroundingDataset, LlavaDataset, MixtureDataset, ReferSegDataset, TileImage
from lira_plugin.structures import Conversation, Record, Turn


def identity(results):
    return results


class Words(GroundingDataset):
    """Records with a known number of words and one random number."""

    def __init__(self, source, lengths):
        super().__init__(source, [identity])
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    @property
    def modality_length(self):
        return list(self.lengths)

    def get_record(self, index, rng):
        return Record(self.source, str(index), None, Conversation((Turn(str(rng.integers(10**9)), ""),)))


def key(result):
    return result["record"].source, result["record"].record_id


def question(result):
    return result["record"].conversation.turns[0].question


@pytest.fixture
def mixture():
    return MixtureDataset([Words("a", [5, -6]), Words("b", [7, 8, 9]), Words("c", [-3])], repeats=[3, 1, 2])


def test_indices_run_through_repeats_and_lengths_follow_them(mixture):
    assert len(mixture) == 11
    keys = [key(mixture[n]) for n in range(11)]
    expected = [("a", "0"), ("a", "1")] * 3 + [("b", "0"), ("b", "1"), ("b", "2")] + [("c", "0")] * 2
    assert keys == expected
    length_of = {("a", "0"): 5, ("a", "1"): -6, ("b", "0"): 7, ("b", "1"): 8, ("b", "2"): 9, ("c", "0"): -3}
    assert mixture.modality_length == [length_of[k] for k in keys]


def test_copies_differ_in_what_is_random(mixture):
    copies = [question(mixture[n]) for n in (0, 2, 4)]
    assert len(set(copies)) == 3
    assert copies == [question(mixture[n]) for n in (0, 2, 4)]
    assert question(mixture[np.int64(2)]) == copies[1]


def test_a_draw_keeps_its_number(mixture):
    child = mixture.datasets[0]
    assert question(mixture[Draw(3, 77)]) == question(child[Draw(1, 77)])
    assert len({question(mixture[Draw(3, n)]) for n in range(5)}) == 5


def test_describe(mixture):
    assert [tuple(part) for part in mixture.describe()] == [("a", 2, 3), ("b", 3, 1), ("c", 1, 2)]
    assert mixture.describe()[0].records == 2
    assert mixture.metainfo == {"sources": ["a", "b", "c"]}


def test_protocols_are_those_of_the_data_sets_and_the_tiles_of_the_mixture(tmp_path):
    refs = [{"ref_id": 1, "ann_id": [-1], "image_id": 1, "split": "val", "sentences": [{"sent": "a cat"}]}]
    images = [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}]
    (tmp_path / "grefcoco").mkdir()
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    (tmp_path / "grefcoco" / "instances.json").write_text(json.dumps({"images": images, "annotations": []}))
    part = ReferSegDataset(str(tmp_path), "grefcoco", "val", "images", per="object")
    files = [str(tmp_path / "grefcoco" / name) for name in ("grefs(unc).json", "instances.json")]
    expected = {"files": files, "exif": "apply", "per": "object"}
    assert part.protocols() == {"grefcoco/val": expected}
    tiles = [{"type": TileImage, "size": 64, "min_tiles": 4, "max_tiles": 12}]
    mixture = MixtureDataset([part], [1], pipeline=tiles)
    assert mixture.protocols() == {"grefcoco/val": expected | {"tiles": [4, 12]}}


def test_built_from_dicts(tmp_path):
    path = tmp_path / "llava.json"
    conversation = [{"from": "human", "value": "How are you?"}, {"from": "gpt", "value": "Fine."}]
    path.write_text(json.dumps([{"id": 0, "conversations": conversation}]))
    entry = {
        "type": LlavaDataset,
        "ann_file": str(path),
        "image_root": "",
        "pipeline": [identity],
        "source": "vqa",
        "repeats": 4,
    }
    data = MixtureDataset([entry, {**entry, "type": "LlavaDataset", "source": "once", "repeats": 1}])
    assert [tuple(part) for part in data.describe()] == [("vqa", 1, 4), ("once", 1, 1)]
    assert entry["repeats"] == 4, "the configuration is left as it was"
    assert data.modality_length == [-4] * 5
    with pytest.raises(ValueError, match="data set 0 of the mixture has its own 'repeats'"):
        MixtureDataset([entry], repeats=[2])


@pytest.mark.parametrize("count", [0, -1, float("nan"), True, None, "2"])
def test_repeats_must_be_positive(count):
    with pytest.raises(ValueError, match="data set 1 of the mixture: 'repeats' must be a positive number"):
        MixtureDataset([Words("a", [1]), Words("b", [1])], repeats=[1, count])


def test_wrong_use(mixture):
    with pytest.raises(ValueError, match="at least one"):
        MixtureDataset([])
    with pytest.raises(ValueError, match="'repeats' has 1 entries for 2"):
        MixtureDataset([Words("a", [1]), Words("b", [1])], repeats=[1])
    for index in (11, -1, Draw(11, 0)):
        with pytest.raises(IndexError, match="the mixture has 11 records"):
            mixture[index]


def test_a_sample_knows_its_place_in_the_mixture():
    mixture = MixtureDataset([Words("a", [1, 2]), Words("b", [1, 1, 1])], repeats=[2, 1])
    assert [mixture[index]["index"] for index in range(len(mixture))] == list(range(7))
    assert mixture[Draw(5, 90)]["index"] == 5 and Words("a", [1, 2])[1]["index"] == 1
    assert mixture.image_paths == [None] * 7
