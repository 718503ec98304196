"""Copies of projects outside of the checkout, with scenes beside them, and their training and test."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmengine.config import Config

from lira_plugin import command, recipes  # noqa: F401  recipes that inherit from an installed package
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from support.paths import ROOT
from support.processes import start
from support.tiny_recipes import unformatted_configs


def copy_project(name: str, folder: Path) -> Path:
    """A copy of a project in ``folder / "copy"``; its recipes find scenes there with ``LIRA_TINY_ROOT=tiny``."""
    copy = folder / "copy"
    shutil.copytree(ROOT / "projects" / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    write_scene_tokenizer(write_scenes(copy / "tiny" / "data", 16, 3, progress=False))
    return copy


def tiny_config(copy: Path, name: str, **model: Any) -> Config:
    """A recipe of a copy, with the scenes beside it and other settings of the model."""
    with patch.dict(os.environ, LIRA_TINY_ROOT=str(copy / "tiny")):
        config = Config.fromfile(copy / "configs" / f"{name}.py")
    config.model.update(model)
    return config


def _run(arguments: Sequence[str], folder: Path) -> None:
    os.chdir(folder)
    with unformatted_configs():
        command.main(list(arguments))


def run_lira(folder: Path, *arguments: str) -> None:
    """Run ``lira`` in a folder, in a process of its own."""
    process = start(_run, arguments, folder)
    process.join(300)
    assert process.exitcode == 0, arguments


def scores_of(folder: Path, recipe: str, weights: str, options: Sequence[str]) -> Mapping[str, float]:
    """The scores of ``lira test`` with a recipe of the copy; ``LIRA_TINY_ROOT`` is ``tiny``."""
    tested = f"tiny/tested_{Path(recipe).stem}"
    run_lira(folder, "test", recipe, "--checkpoint", weights, "--work-dir", tested, *_with_options(options))
    (scores,) = (folder / tested).glob("*/*.json")
    return json.loads(scores.read_text())


def _with_options(options: Sequence[str]) -> list[str]:
    return ["--cfg-options", *options] if options else []


def train_and_test(
    folder: Path, recipe: str, stage: str, options: Sequence[str], iters: int = 24
) -> tuple[list[Mapping[str, Any]], Mapping[str, float]]:
    """``lira train`` and ``lira test`` with a recipe of the copy, each in a process of its own; ``LIRA_TINY_ROOT`` is ``tiny``.

    Args:
        folder: the copy.
        recipe: path of the recipe in it.
        stage: name of its work dir below the root.
        options: of both, after ``--cfg-options``.
        iters: iterations of the training.

    Returns:
        What the training logged, four iterations each, and the scores.
    """
    logged = [f"train_cfg.max_iters={iters}", "default_hooks.logger.interval=4", "log_processor.window_size=4"]
    run_lira(folder, "train", recipe, *_with_options([*options, *logged]))
    (log,) = (folder / "tiny" / stage).glob("*/vis_data/scalars.json")
    scores = scores_of(folder, recipe, f"tiny/{stage}/iter_{iters}.pth", options)
    return [json.loads(line) for line in log.read_text().splitlines()], scores
