"""Lengths that a sampler groups by are those of the sequences that training sees."""

import importlib.util
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from support.processes import on_two_processes
from support.tiny_model import LAYOUT, TEMPLATE, TILE, tiny_tokenizer

from lira_plugin.datasets import (
    ILVC,
    DecodeRegions,
    GCGDataset,
    LetterboxImage,
    LlavaDataset,
    LoadImage,
    MixtureDataset,
    PackGroundingInputs,
    ReferSegDataset,
    ResumableSampler,
    TileImage,
    TokenizeConversation,
)
from lira_plugin.datasets.lengths import image_size
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.structures import Conversation, Record, Turn

GROUP = 4


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    root = write_scenes(tmp_path_factory.mktemp("scenes") / "data", 24, 2, progress=False).root
    images = {"image_root": f"{root}/images"}
    return MixtureDataset(
        [
            ReferSegDataset(data_root=str(root), dataset="refcoco", split="train", num_expressions=3, **images),
            GCGDataset(ann_file=f"{root}/grandf/scenes_GCG_train.json", layout="grandf", source="gcg", **images),
            LlavaDataset(ann_file=f"{root}/llava/scenes_train.json", source="vqa", **images),
        ],
        repeats=[2, 1, 1],
        pipeline=[
            LoadImage(),
            DecodeRegions(),
            LetterboxImage(size=64),
            ILVC(size=TILE, template=TEMPLATE),
            TileImage(size=TILE, max_tiles=6),
            TokenizeConversation(tiny_tokenizer(), LAYOUT, max_length=4096),
            PackGroundingInputs(),
        ],
    )


def test_they_are_the_positions_of_the_sequences_within_a_few_percent(mixture):
    wanted = np.array([len(mixture[index].input_ids) for index in range(len(mixture))])
    found = np.abs(mixture.modality_length)
    assert len(found) == len(wanted) and wanted.max() > 2 * wanted.min()
    assert np.abs(found / wanted - 1).mean() < 0.06
    fixed = slice(-mixture.describe()[-1].records, None)
    assert np.abs(found - wanted)[fixed].max() <= 2, (
        "only questions and sentences that are drawn anew make a larger error"
    )


def test_a_data_set_with_a_pipeline_of_its_own_says_the_same(mixture):
    vqa = mixture.datasets[-1]
    alone = copy(vqa)
    alone.pipeline = mixture.pipeline
    assert alone.modality_length == mixture.modality_length[-len(vqa) :]
    words = [
        sum(len(f"{t.question} {t.answer}".split()) for t in vqa.get_record(n, None).conversation.turns)
        for n in range(3)
    ]
    assert list(map(abs, vqa.modality_length[:3])) == words, "words where there is no pipeline"


def test_a_part_that_cannot_tell_its_lengths_is_named(mixture):
    inner = MixtureDataset([mixture.datasets[0]])
    outer = MixtureDataset([inner], pipeline=mixture.pipeline.transforms)
    with pytest.raises(TypeError, match="MixtureDataset cannot say how long"):
        outer.modality_length  # noqa: B018


def test_records_without_an_image_have_negative_lengths(mixture):
    paths, lengths = mixture.image_paths, mixture.modality_length
    assert all((length < 0) == (path is None) for path, length in zip(paths, lengths, strict=True))


def spreads(lengths, size):
    groups = [lengths[start : start + size] for start in range(0, len(lengths) - size, size)]
    return np.mean([max(group) - min(group) for group in groups])


def test_neighbouring_draws_are_of_similar_length_and_each_record_comes_once(mixture):
    lengths = np.abs(mixture.modality_length)
    orders = []
    for group in (None, GROUP):
        draws = iter(ResumableSampler(mixture, seed=1, length_group=group))
        epochs = [[next(draws).index for _ in range(len(mixture))] for _ in range(2)]
        assert all(sorted(epoch) == list(range(len(mixture))) for epoch in epochs)
        assert epochs[0] != epochs[1]
        orders.append(epochs[0])
    assert spreads(lengths[orders[1]], GROUP) < 0.5 * spreads(lengths[orders[0]], GROUP)


def xtuners_sampler():
    """xtuner's class from its file: importing the package takes seconds."""
    folder = Path(importlib.util.find_spec("xtuner").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("length_grouped", folder / "dataset/samplers/length_grouped.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LengthGroupedSampler


def test_the_sampler_of_xtuner_groups_by_them_too(mixture):
    sampler = xtuners_sampler()(mixture, GROUP, length_property="modality_length", seed=1, round_up=False)
    order = list(sampler)
    assert sorted(order) == list(range(len(mixture)))
    lengths = np.abs(mixture.modality_length)
    shuffled = np.random.default_rng(0).permutation(len(mixture))
    assert spreads(lengths[order], GROUP) < 0.5 * spreads(lengths[shuffled], GROUP)


def test_grouped_draws_can_be_entered_anywhere(mixture):
    whole, late = (ResumableSampler(mixture, seed=1, length_group=GROUP) for _ in range(2))
    late.skip(len(mixture) + 3)
    draws = iter(whole)
    first = [next(draws) for _ in range(len(mixture) + 9)]
    rest = iter(late)
    assert [next(rest) for _ in range(6)] == first[-6:]


def first_lengths(rank, mixture):
    lengths, draws = mixture.modality_length, iter(ResumableSampler(mixture, seed=1, length_group=GROUP))
    return [abs(lengths[next(draws).index]) for _ in range(len(mixture) // 2)]


def test_processes_get_similar_lengths_at_the_same_time(mixture):
    """So that none waits long for the others."""
    ranks = np.array(on_two_processes(first_lengths, mixture))
    lengths = np.abs(mixture.modality_length)
    assert np.abs(ranks[0] - ranks[1]).mean() < 0.25 * np.abs(lengths[:, None] - lengths[None]).mean()


@pytest.mark.parametrize(("suffix", "orientation"), [("png", 1), ("png", 6), ("jpg", 1), ("jpg", 6)])
def test_sizes_that_are_not_annotated_come_from_the_header_of_the_image(tmp_path, monkeypatch, suffix, orientation):
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.new("RGB", (40, 20)).save(tmp_path / f"a.{suffix}", exif=exif)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels are decoded"))
    record = Record("source", "1", str(tmp_path / f"a.{suffix}"), Conversation((Turn("q", "a"),)))
    assert image_size(record) == ((20, 40) if orientation == 1 else (40, 20))


def test_wrong_use(mixture):
    with pytest.raises(ValueError, match="needs shuffle=True"):
        ResumableSampler(mixture, shuffle=False, length_group=4)
    with pytest.raises(TypeError, match="list has no modality_length"):
        ResumableSampler([1, 2], length_group=4)
