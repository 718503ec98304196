"""The template for projects, from a copy of its folder: a model that reads the question and nothing else learns."""

import pytest
import torch
from support.project_runs import copy_project, tiny_config, train_and_test

from lira_plugin.datasets import fit_to_model, grounding_collate
from lira_plugin.registry import DATASETS, MODELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    return copy_project("example_project", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def config(folder):
    return tiny_config(folder, "example_tiny", init_from=[])


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return MODELS.build(config.model).eval()


def collated(config, model, loader, count):
    dataset = fit_to_model(DATASETS.build(config[loader].dataset), model.input_spec, f"{loader}.dataset")
    return grounding_collate([dataset[index] for index in range(count)])


@torch.no_grad()
def test_the_state_is_that_of_the_question_alone(config, model):
    """Whatever the answer is, and however much the batch pads."""
    batch = collated(config, model, "train_dataloader", 4)["batch"]
    states = model.read(batch)
    for index, labels in enumerate(batch.labels):
        length = int((labels >= 0).nonzero()[0])
        alone, _ = model.gru(model.embed(batch.input_ids[index, :length]))
        torch.testing.assert_close(states[index], alone[-1])
    assert len({int((labels >= 0).nonzero()[0]) for labels in batch.labels}) > 1, "questions of several lengths"


@torch.no_grad()
def test_each_sentence_gets_a_mask_of_its_image(config, model):
    prompts = collated(config, model, "test_dataloader", 4)
    predictions = model(**prompts, mode="predict")
    for sample, prediction in zip(prompts["data_samples"], predictions, strict=True):
        (alone,) = model(**grounding_collate([sample]), mode="predict")
        assert prediction.masks.shape == (1, *sample.image.shape[:2])
        assert (prediction.masks == alone.masks).mean() > 0.999


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    losses, scores = train_and_test(folder, "configs/example_tiny.py", "example", ["model.init_from=[]"])
    assert losses[-1]["loss_mask"] < losses[0]["loss_mask"]
    assert 0 <= scores["refcoco/val/refined/cIoU"] <= 1
