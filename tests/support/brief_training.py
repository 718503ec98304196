"""A tiny model that every stage of a recipe has trained for two iterations: real checkpoints, answers that are noise."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lira_plugin.quickstart import Family, Quickstart
from support.paths import CONFIGS
from support.processes import ensure_forked

OPTIONS = ("train_cfg.max_iters=2", "train_dataloader.batch_size=4")
SCENES, EVAL_SCENES = 32, 2


@dataclass(frozen=True)
class BriefTraining:
    """What is left of it.

    Args:
        quickstart: that has run.
        report: what it returned.
    """

    quickstart: Quickstart
    report: dict[str, Any]

    @property
    def root(self) -> Path:
        """What LIRA_TINY_ROOT is to be for the recipes of the family."""
        return self.quickstart.work_dir

    @property
    def model(self) -> Path:
        """The work dir of the model, for ``LIRAInferencer`` and the tools."""
        return self.root / self.quickstart.stages[-1].folder


def train_briefly(root: Path, family: Family) -> BriefTraining:
    """Train below ``root``, or find what has been trained there; processes that ask at the same time wait for the first."""
    ensure_forked()
    root.mkdir(parents=True, exist_ok=True)
    quickstart = Quickstart(
        root, CONFIGS / "lira_tiny", scenes=SCENES, eval_scenes=EVAL_SCENES, options=OPTIONS, family=family
    )
    with (root.parent / f"{root.name}.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("LIRA_TINY_ROOT", os.environ.get("LIRA_TINY_ROOT", ""))  # put back what the run sets
        return BriefTraining(quickstart, quickstart.run())
