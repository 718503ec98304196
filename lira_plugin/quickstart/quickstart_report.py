"""What a quickstart says in the end: its scores, and what to try next."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from lira_plugin.quickstart.chain import Quickstart
from lira_plugin.quickstart.families import FAST
from lira_plugin.quickstart.run_progress import points_right


def format_summary(report: dict[str, Any]) -> str:
    """The scores of a run as a small table."""
    lines = ["split   masks      cIoU   gIoU  P@0.5"]
    for split, by_stage in report["eval"].items():
        for mask_stage in ("refined", "coarse"):
            scores = by_stage[mask_stage]
            lines.append(f"{split:7} {mask_stage:7} {scores['cIoU']:7.3f} {scores['gIoU']:6.3f} {scores['P@0.5']:6.3f}")
    seconds = sum(stage["seconds"] for stage in report["stages"].values())
    lines.append(
        f"It {points_right(report['eval']['val']['refined']['P@0.5'])}: masks of unseen scenes with an IoU above 0.5"
    )
    lines.append(f"trained for {seconds / 60:.1f} minutes; the largest process took {report['peak_rss_mb']} MiB")
    return "\n".join(lines)


def next_commands(quickstart: Quickstart, work_dir: Path) -> list[tuple[str, str]]:
    """What can be done with the model, each as (purpose, command for a shell).

    Args:
        quickstart: that has run.
        work_dir: its folder, as commands are to call it.
    """
    asked = json.loads(quickstart.sentences.read_text())[0]
    image = work_dir / Path(asked["image"]).relative_to(quickstart.work_dir)
    model = work_dir / quickstart.stages[-1].folder
    question = shlex.quote(asked["question"])
    uv = "uv run " if "UV" in os.environ else ""
    commands = [
        ("Ask about a scene", f"{uv}lira infer {image} {question} --model {model} --out-dir out"),
        ("Chat in the browser", f"{uv}{'--extra demo ' if uv else ''}lira demo --model {model}"),
    ]
    if quickstart.family is FAST:
        commands.append(("Train the full recipe, on harder scenes and in a quarter of an hour", f"{uv}lira quickstart"))
    return commands
