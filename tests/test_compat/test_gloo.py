"""Without an accelerator MMEngine joins its processes by gloo; with one as ever."""

import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import init_dist, utils
from support.paths import config_path

from lira_plugin.compat import gloo as processes


@pytest.mark.parametrize("init_backend", ["torch", "deepspeed"])
def test_without_an_accelerator_it_is_gloo(monkeypatch, init_backend):
    asked = []
    monkeypatch.setattr(processes, "get_device", lambda: "cpu")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *args, **kw: asked.append(("torch", *args, kw)))
    deepspeed = SimpleNamespace(init_distributed=lambda **kw: asked.append(("deepspeed", kw.pop("dist_backend"), kw)))
    monkeypatch.setitem(sys.modules, "deepspeed", deepspeed)
    init_dist("pytorch", "nccl", init_backend=init_backend, rank=0)
    assert asked == [(init_backend, "gloo", {"rank": 0})]


def test_with_an_accelerator_mmengine_does_it(monkeypatch):
    asked = []
    monkeypatch.setattr(processes, "get_device", lambda: "cuda")
    monkeypatch.setattr(processes, "_join_with_devices", lambda *args, **kw: asked.append((args, kw)))
    init_dist("pytorch", "nccl", timeout=None)
    assert asked == [(("nccl",), {"init_backend": "torch", "timeout": None})]


@pytest.mark.parametrize("name", ["lira_tiny_segmenter", "lira_tiny", "lira_2b"])
def test_reading_a_recipe_is_enough(monkeypatch, name):
    monkeypatch.setattr(utils, "_init_dist_pytorch", processes._join_with_devices)
    monkeypatch.delitem(sys.modules, "lira_plugin.compat.gloo")
    config = Config.fromfile(config_path(name))
    assert utils._init_dist_pytorch is sys.modules["lira_plugin.compat.gloo"].join
    assert config.model_wrapper_cfg["device_ids"] is None, "CPUs have none"
