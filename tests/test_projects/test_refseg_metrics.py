"""A text-conditioned detector of mmdet, from a copy of its folder: filled boxes as masks, scored by our metrics."""

import json
import os
import shutil

import pytest
import torch
from mmengine.config import Config
from support.paths import ROOT
from support.processes import start
from support.tiny_recipes import unformatted_configs

from lira_plugin import command, recipes  # noqa: F401  recipes that inherit from an installed package
from lira_plugin.registry import DATASETS, MODELS
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

PROJECT = ROOT / "projects" / "refseg_metrics"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    write_scene_tokenizer(write_scenes(folder / "tiny" / "data", 16, 3, progress=False))
    return folder


@pytest.fixture(scope="module")
def configs(folder):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LIRA_TINY_ROOT", str(folder / "tiny"))
        names = ("refseg_tiny", "refseg_tiny_gcg")
        configs = {name: Config.fromfile(folder / "configs" / f"{name}.py") for name in names}
    for config in configs.values():
        config.model.backbone_from = None
    return configs


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


def run(arguments, folder):
    os.chdir(folder)
    with unformatted_configs():
        command.main(arguments)


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    recipe, weights = "configs/refseg_tiny.py", "tiny/refseg/iter_16.pth"
    new = ["--cfg-options", "model.backbone_from=None"]
    options = ["train_cfg.max_iters=16", "default_hooks.logger.interval=4", "log_processor.window_size=4"]
    commands = [
        ["train", recipe, *new, *options],
        ["test", recipe, "--checkpoint", weights, "--work-dir", "tiny/tested", *new],
        ["test", "configs/refseg_tiny_gcg.py", "--checkpoint", weights, "--work-dir", "tiny/tested_gcg", *new],
    ]
    for arguments in commands:
        process = start(run, arguments, folder)
        process.join(300)
        assert process.exitcode == 0, arguments
    (log,) = (folder / "tiny" / "refseg").glob("*/vis_data/scalars.json")
    losses = [json.loads(line) for line in log.read_text().splitlines()]
    for name in ("loss_bbox", "loss_iou"):
        assert losses[-1][name] < losses[0][name], name
    for tested, key in (("tested", "refcoco/val/refined/cIoU"), ("tested_gcg", "gcg/val/mIoU")):
        (scores,) = (folder / "tiny" / tested).glob("*/*.json")
        assert 0 <= json.loads(scores.read_text())[key] <= 1
