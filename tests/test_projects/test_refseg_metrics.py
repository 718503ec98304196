"""A text-conditioned detector of mmdet, from a copy of its folder: filled boxes as masks, scored by our metrics."""

import pytest
import torch
from support.project_runs import copy_project, scores_of, tiny_config, train_and_test

from lira_plugin.registry import DATASETS, MODELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    return copy_project("refseg_metrics", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def configs(folder):
    return {name: tiny_config(folder, name, backbone_from=None) for name in ("refseg_tiny", "refseg_tiny_gcg")}


@pytest.fixture(scope="module")
def model(configs):
    torch.manual_seed(0)
    model = MODELS.build(configs["refseg_tiny"].model)
    model.init_weights()  # as a runner does; until then some of mmdet's weights are what the memory was
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("recipe", ["refseg_tiny", "refseg_tiny_gcg"])
def test_each_phrase_gets_its_best_box_filled(configs, model, recipe):
    """Compared with what mmdet's own detector answers, one pixel after the other."""
    dataset = DATASETS.build(configs[recipe].test_dataloader.dataset)
    sample = max((dataset[index] for index in range(len(dataset))), key=lambda found: len(found["data_samples"].text))
    batch = {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
    phrases = sample["data_samples"].text
    inputs = model.data_preprocessor(batch)
    ours = model.predict(inputs["inputs"], inputs["data_samples"])[0].pred_instances.clone()
    whole = super(type(model), model).predict(inputs["inputs"], inputs["data_samples"])[0].pred_instances
    assert len(whole) == model.test_cfg.max_per_img and whole.get("masks") is None
    assert len(set(ours.labels.tolist())) == len(ours) == len(set(whole.labels.tolist()))
    height, width = sample["data_samples"].ori_shape
    for label, score, box, name, mask in zip(ours.labels, ours.scores, ours.bboxes, ours.label_names, ours.masks):
        assert score == whole.scores[whole.labels == label].max() and name == phrases[label]
        left, top, right, bottom = box.tolist()
        expected = [[left <= x + 0.5 < right and top <= y + 0.5 < bottom for x in range(width)] for y in range(height)]
        assert torch.equal(mask, torch.tensor(expected))


def test_a_detector_is_given_phrases_and_their_indices(configs):
    config = configs["refseg_tiny_gcg"].test_dataloader.dataset
    dataset = DATASETS.build(config)
    for index in range(len(dataset)):
        sample = dataset[index]["data_samples"]
        truth = sample.mask_target
        assert list(sample.text) == list(dict.fromkeys(phrase for phrase in truth.phrases if phrase))
        names = [sample.text[label] for label in sample.gt_instances.labels]
        assert names == list(truth.phrases)


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    new = ["model.backbone_from=None"]
    losses, scores = train_and_test(folder, "configs/refseg_tiny.py", "refseg", new, iters=16)
    for name in ("loss_bbox", "loss_iou"):
        assert losses[-1][name] < losses[0][name], name
    captions = scores_of(folder, "configs/refseg_tiny_gcg.py", "tiny/refseg/iter_16.pth", new)
    assert 0 <= scores["refcoco/val/refined/cIoU"] <= 1 and 0 <= captions["gcg/val/mIoU"] <= 1
