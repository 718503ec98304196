"""Settings of a recipe that are looked at before a runner is built of them.

Mends MMEngine 0.10.6: a misspelt setting of a loader, hook or data set ends as ``TypeError: ... unexpected keyword argument``,
after the model has been built, without the name of the setting or those that there are; one of ``env_cfg`` is passed over. It
can go when MMEngine looks at its configs.

Importing this module makes the runners look at configs of this package's scope. The recipes import it
(``configs/lira/_base_/default_runtime.py``).
"""

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

from lira_plugin.registry import SCOPE
from lira_plugin.settings import check_config, refuse_type, refuse_unknown

_TAKEN = {
    "model": {"feature_cache"},
    "optim_wrapper": {"constructor", "paramwise_cfg", "optimizer"},
    "param_scheduler": {"convert_to_iter_based", "epoch_length", "optimizer"},
    "custom_hooks": {"priority"},
    "default_hooks": {"priority"},
}
"""What MMEngine, or LIRA, takes out of the dictionaries below a setting before it builds them."""
_LOADER = {"dataset", "sampler", "batch_sampler", "collate_fn", "worker_init_fn", "num_batch_per_epoch"}
_LOADER_TYPES = {"batch_size": int, "num_workers": int, "prefetch_factor": int | None, "persistent_workers": bool}
_PLAIN = {
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
    "randomness": {"seed", "diff_rank_seed", "deterministic"},
}
"""Dictionaries without a type, and their keys."""


def check_recipe(config: Config | Mapping[str, Any]) -> None:
    """Look at the settings of MMEngine's runners in a recipe, before anything is built of them.

    Raises:
        WrongSetting: a name is unknown, or a value of another type.
    """
    loader = set(inspect.signature(DataLoader.__init__).parameters) - {"self"} | _LOADER
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        settings = config.get(name)
        if isinstance(settings, Mapping):
            refuse_unknown(settings, loader, name)
            for key in _LOADER_TYPES.keys() & settings.keys():
                refuse_type(f"{name}.{key}", settings[key], _LOADER_TYPES[key])
    for name, keys in _PLAIN.items():
        if isinstance(config.get(name), Mapping):
            refuse_unknown(config[name], keys, name)
    typed = ("train_dataloader", "val_dataloader", "test_dataloader", "train_cfg", "val_cfg", "test_cfg")
    others = ("val_evaluator", "test_evaluator", "visualizer", "log_processor", "model_wrapper_cfg", *_TAKEN)
    for name in (*typed, *others):
        check_config(config.get(name), name, _TAKEN.get(name, ()))


def look_first(runner: type) -> classmethod:
    """``from_cfg`` of a runner that looks at the settings first."""
    build = runner.from_cfg.__func__

    def from_cfg(cls: type, cfg: Any) -> Any:
        if cfg.get("default_scope") == SCOPE:
            check_recipe(cfg)
        return build(cls, cfg)

    return classmethod(from_cfg)


for _runner in (Runner, FlexibleRunner):
    _runner.from_cfg = look_first(_runner)
