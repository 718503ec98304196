from types import SimpleNamespace

import pytest
from mmengine.config import Config
from support.paths import RECIPES

from lira_plugin.hooks import MisspeltSettingsHook

LEAVES = RECIPES


def look_at(config):
    MisspeltSettingsHook().before_run(SimpleNamespace(cfg=config))


@pytest.mark.parametrize("path", LEAVES, ids=[path.stem for path in LEAVES])
def test_our_recipes_pass_and_have_the_hook(path):
    config = Config.fromfile(path)
    look_at(config)
    assert any(hook["type"] is MisspeltSettingsHook for hook in config.custom_hooks)


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("train_cgf.max_iters", "train_cfg"),
        ("optim_wraper.lr", "optim_wrapper"),
        ("resum", "resume"),
        ("stratgy.type", "strategy"),
    ],
)
def test_a_slip_is_refused(option, meant):
    config = Config.fromfile(next(path for path in LEAVES if path.stem == "lira_tiny"))
    config.merge_from_dict({option: 3})
    with pytest.raises(ValueError, match=f"lira_tiny.py sets '{option.split('.')[0]}'.*'{meant}' meant"):
        look_at(config)


@pytest.mark.parametrize(
    ("option", "value", "used"),
    [
        ("max_iters", 3000, r"train_cfg\.max_iters"),
        ("data_root", "elsewhere", r"environment variables"),
        ("pipeline.tile.max_tiles", 2, r"train_dataloader\.dataset\.pipeline\.tile\.max_tiles"),
    ],
)
def test_a_variable_that_the_recipe_has_read_is_refused(option, value, used):
    config = Config.fromfile(next(path for path in LEAVES if path.stem == "lira_tiny"))
    config.merge_from_dict({option: value})
    with pytest.raises(ValueError, match=rf"{option}=.* changes nothing: .*{used}"):
        look_at(config)


def test_settings_of_the_runner_may_be_anything():
    config = Config.fromfile(next(path for path in LEAVES if path.stem == "lira_tiny"))
    config.merge_from_dict({"train_cfg.max_iters": 3, "model.generation.ilvc": False})
    look_at(config)
