"""Two iterations of the tiny recipe on a mixture of every set of the paper, each from files as its owners lay them out."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from support.official_files import (
    write_coco_instances,
    write_question_sets,
    write_refer,
    write_region_sets,
)
from support.paths import config_path
from support.process_state import process_state_restored
from support.tiny_recipes import unformatted_configs

from lira_plugin.prepare.mix import write_mix
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    """Laid out as the full recipes read it, with gRefCOCO and COCO's instances beside."""
    data = write_region_sets(tmp_path / "data")
    write_mix(write_question_sets(tmp_path / "official"), data)
    write_refer(data / "ref_seg", data / "glamm_data/images/coco2014/train2014", "grefcoco", "unc", no_target=True)
    images = data / "glamm_data/images/coco2017/train2017"
    write_coco_instances(data / "coco/annotations/instances_train2017.json", images)
    return data


def sets_of_the_full_recipes(monkeypatch, data):
    """The data sets of ``paper_data.py`` and gRefCOCO, which it does not train on."""
    monkeypatch.setenv("LIRA_DATA", str(data))
    parts = Config.fromfile(config_path("lira_2b_coco_instance")).train_dataloader.dataset.datasets
    refcoco = next(part for part in parts if part.get("dataset") == "refcoco")
    return [*parts, {**refcoco, "dataset": "grefcoco"}]


def test_every_set_trains(tmp_path, data, monkeypatch):
    write_scene_tokenizer(write_scenes(tmp_path / "tiny/data", 8, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path / "tiny"))
    with process_state_restored(), unformatted_configs():
        config = Config.fromfile(config_path("lira_tiny"))
        config.train_dataloader.dataset.datasets = sets_of_the_full_recipes(monkeypatch, data)
        config.merge_from_dict(
            {
                "work_dir": str(tmp_path / "run"),
                "experiment_name": "mixture",
                "model.init_from": [],
                "train_cfg.max_iters": 2,
                "train_dataloader.batch_size": 32,
                "train_dataloader.dataset.pipeline.interleave.prob": 0.5,
                "custom_hooks": [hook for hook in config.custom_hooks if "Visualization" not in str(hook["type"])],
            }
        )
        runner = Runner.from_cfg(config)
        runner.train()
        dataset = runner.train_dataloader.dataset
        sources = {part.source for part in dataset.describe()}
        assert len(sources) == 10 and {"vqa", "grefcoco/train", "coco_instance/train2017"} <= sources
        assert len(dataset) == 30 + 4 * 3 + 13 + 2, "questions, referring, captions, instances"
        read = {dataset[index].source for index in range(len(dataset))}
        assert read == sources and runner.iter == 2
        assert len(dataset) <= 2 * 32, "two iterations draw every record"
        losses = runner.message_hub.get_scalar("train/loss_mask").data[0]
    assert torch.isfinite(torch.as_tensor(losses)).all() and (losses > 0).any()
