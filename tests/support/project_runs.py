"""Copies of projects outside of the checkout, with scenes beside them, and their training and test."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lira_plugin import command
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


def _run(arguments: Sequence[str], folder: Path) -> None:
    os.chdir(folder)
    with unformatted_configs():
        command.main(list(arguments))


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
    tested = ["--checkpoint", f"tiny/{stage}/iter_{iters}.pth", "--work-dir", "tiny/tested"]
    for arguments in (
        ["train", recipe, "--cfg-options", *options, *logged],
        ["test", recipe, *tested, *(["--cfg-options", *options] if options else [])],
    ):
        process = start(_run, arguments, folder)
        process.join(300)
        assert process.exitcode == 0, arguments
    (log,) = (folder / "tiny" / stage).glob("*/vis_data/scalars.json")
    (scores,) = (folder / "tiny" / "tested").glob("*/*.json")
    return [json.loads(line) for line in log.read_text().splitlines()], json.loads(scores.read_text())
