"""Names and types of settings, and what a recipe with a wrong one says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner
from support.paths import RECIPES, config_path
from torch import nn

from lira_plugin.compat.checked_settings import check_recipe
from lira_plugin.datasets import MixtureDataset
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.settings import WrongSetting, check_config, refuse_type, refuse_unknown


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_pass(path):
    check_recipe(Config.fromfile(path))


SLIPS = {
    "train_dataloader.batchsize": (
        4,
        "train_dataloader has no setting 'batchsize'; is 'batch_size' meant.*num_workers",
    ),
    "test_dataloader.num_worker": (4, "test_dataloader has no setting 'num_worker'; is 'num_workers' meant"),
    "train_dataloader.batch_size": ("4x", r"train_dataloader\.batch_size must be a whole number, got '4x' \(str\)"),
    "train_dataloader.num_workers": (2.5, "num_workers must be a whole number, got 2.5"),
    "train_dataloader.persistent_workers": ("no", "persistent_workers must be True or False"),
    "train_dataloader.sampler.lenght_group": (3, "'lenght_group'; is 'length_group' meant"),
    "train_dataloader.sampler.shuffle": ("yes", r"sampler\.shuffle must be True or False, got 'yes'"),
    "train_dataloader.dataset.pipeline.tile.max_tile": (3, r"pipeline\.tile \(TileImage\) has no .*'max_tiles' meant"),
    "train_dataloader.dataset.pipeline.tile.max_tiles": ("3a", r"tile\.max_tiles must be a whole number, got '3a'"),
    "train_dataloader.dataset.pipeline.interleave.prob": ("half", r"interleave\.prob must be a number"),
    "train_dataloader.dataset.datasets.0.data_rot": ("x", r"datasets\.0 \(ReferSegDataset\).*'data_root' meant"),
    "train_dataloader.dataset.datasets.0.split": (1, r"datasets\.0\.split must be a text, got 1"),
    "model.frozn": (["llm"], r"model \(LIRA\) has no setting 'frozn'; is 'frozen' meant"),
    "model.frozen": ("llm", r"model\.frozen must be a list, got 'llm'"),
    "model.loss_weights": ("x", r"model\.loss_weights must be a dict or None"),
    "optim_wrapper.clip_gradd": (1, "is 'clip_grad' meant"),
    "optim_wrapper.optimizer.lrr": (1, r"optim_wrapper\.optimizer \(SOAP\).*'lr' meant"),
    "optim_wrapper.optimizer.lr": ("fast", r"optimizer\.lr must be a number, got 'fast'"),
    "default_hooks.checkpoint.intervall": (3, "is 'interval' meant"),
    "default_hooks.logger.interval": ("ten", r"logger\.interval must be a whole number"),
    "default_hooks.finite_steps.max_in_row": (3, "is 'max_in_a_row' meant"),
    "train_cfg.max_iter": (3, "is 'max_iters' meant"),
    "env_cfg.cudnn_benchmarks": (True, "env_cfg has no setting 'cudnn_benchmarks'; is 'cudnn_benchmark' meant"),
    "randomness.sed": (3, "randomness has no setting 'sed'; is 'seed' meant"),
    "param_scheduler.0.shares": ([0, 1], r"param_scheduler\.0 \(LinearShareLR\).*'share' meant"),
    "test_evaluator.min_pixel": (3, r"ReferSegMetric\) has no setting 'min_pixel'; is 'min_pixels' meant"),
    "visualizer.vis_backend": ([], "'vis_backends' meant"),
}


@pytest.mark.parametrize("option", SLIPS)
@pytest.mark.parametrize("runner", [Runner, FlexibleRunner])
def test_a_wrong_setting_ends_before_anything_is_built(option, runner):
    value, message = SLIPS[option]
    config = Config.fromfile(config_path("lira_tiny"))
    config.merge_from_dict({option: value})
    with pytest.raises(WrongSetting, match=message):
        runner.from_cfg(config)


def test_configs_of_other_packages_are_their_own(monkeypatch):
    heard = []
    monkeypatch.setattr("lira_plugin.compat.checked_settings.check_recipe", heard.append)
    with pytest.raises(KeyError):
        Runner.from_cfg(Config({"default_scope": "mmdet"}))
    assert not heard


def test_pipelines_and_mixtures_look_at_what_they_build():
    with pytest.raises(WrongSetting, match=r"pipeline\.tile \(TileImage\) has no setting 'max_tile'"):
        build_pipeline({"tile": {"type": "lira_plugin.datasets.TileImage", "max_tile": 3}})
    with pytest.raises(WrongSetting, match=r"datasets\.0 .*'data_roots'; is 'data_root' meant"):
        MixtureDataset([{"type": "lira_plugin.datasets.ReferSegDataset", "repeats": 2, "data_roots": "x"}])


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (3, int, True),
        (True, int, False),
        (3, float, True),
        (0.5, int, False),
        ("3", int | None, False),
        (None, int | None, True),
        (1, bool, False),
        (["a"], Sequence[str], True),
        ("a", Sequence[str], False),
        ({"a": 1}, Mapping[str, float] | None, True),
        ([1], dict, False),
        ("x", Literal["x", "y"], True),
        ("z", Literal["x", "y"], False),
        (Path("a"), Path | None, True),
        (5, Path, False),
        (nn.ReLU(), nn.Module, True),
    ],
)
def test_types(value, annotation, fits):
    if fits:
        refuse_type("it", value, annotation)
        return
    with pytest.raises(WrongSetting, match=r"^it must be .*, got "):
        refuse_type("it", value, annotation)


def test_an_error_of_a_setting_is_of_both_of_pythons_classes():
    for kind in (TypeError, ValueError):
        with pytest.raises(
            kind, match=r"^it has no setting 'wdith'; is 'width' meant\? Its settings are: height, width "
        ):
            refuse_unknown(["wdith"], ["width", "height"], "it")


def test_what_takes_any_keyword_refuses_what_is_nearly_one_of_its_own():
    def make(width=1, **others):
        return width, others

    check_config({"type": make, "depth": 3})
    with pytest.raises(WrongSetting, match="'wdith'; is 'width' meant"):
        check_config({"type": make, "wdith": 3})


def test_registered_classes_look_at_their_arguments():
    from lira_plugin import datasets, evaluation, hooks

    for make, message in (
        (lambda: datasets.TileImage(max_tiles="3"), r"max_tiles of TileImage must be a whole number, got '3'"),
        (lambda: datasets.TileImage(max_tile=3), r"TileImage has no setting 'max_tile'; is 'max_tiles' meant"),
        (lambda: datasets.ILVC(prob="half"), r"prob of ILVC must be a number"),
        (
            lambda: datasets.TokenizeConversation(max_length="100"),
            r"max_length of TokenizeConversation must be a whole",
        ),
        (lambda: datasets.PackGroundingInputs(for_generation="yes"), r"for_generation .* must be True or False"),
        (
            lambda: datasets.ReferSegDataset(None, "refcoco", "train", "i"),
            r"data_root of ReferSegDataset must be a text",
        ),
        (lambda: datasets.MixtureDataset("refcoco"), r"datasets of MixtureDataset must be a list, got 'refcoco'"),
        (lambda: datasets.MixtureDataset([{"data_root": "x"}]), r"datasets\.0 does not say what it builds: .*'type'"),
        (lambda: datasets.ResumableSampler([1, 2], start="3"), r"start of ResumableSampler must be a whole number"),
        (lambda: evaluation.ReferSegMetric(min_pixels="3"), r"min_pixels of ReferSegMetric must be a whole number"),
        (lambda: evaluation.DumpAnswers(None), r"out_file of DumpAnswers must be a text or a path, got None"),
        (
            lambda: hooks.GroundingVisualizationHook(interval="10"),
            r"interval of GroundingVisualizationHook must be a whole",
        ),
        (lambda: build_pipeline("abc"), r"pipeline must be a dict or a list or None, got 'abc'"),
        (lambda: build_pipeline([{"size": 3}]), r"pipeline\.0 does not say what it builds: .*has size"),
        (lambda: build_pipeline([3]), r"pipeline\.0 must be a transform or its config, got 3"),
    ):
        with pytest.raises(WrongSetting, match=message):
            make()
