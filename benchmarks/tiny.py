"""Run the tiny recipe for several seeds, and without ILVC and without SEFE; write tiny.json, print the table of tiny.md."""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from lira_plugin.quickstart import Quickstart

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs" / "lira"
VARIANTS = {"": "LIRA", "_no_ilvc": "without ILVC", "_no_sefe": "without SEFE"}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/benchmark_tiny"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variant-seeds", type=int, nargs="*", default=[0], help="seeds of the two variants")
    return parser.parse_args()


def table(runs: list[dict[str, Any]]) -> str:
    """A Markdown table: one line a run, refined | coarse cIoU of each split."""
    lines = [
        "| variant | seed | val refined | val coarse | testA refined | testA coarse | testB refined | testB coarse "
        "| val gIoU | val P@0.5 | minutes of training | peak MiB |",
        "|" + " --- |" * 12,
    ]
    for run in runs:
        scores = [
            f"{run['eval'][split][view]['cIoU']:.3f}"
            for split in ("val", "testA", "testB")
            for view in ("refined", "coarse")
        ]
        val = run["eval"]["val"]["refined"]
        minutes = sum(stage["seconds"] for stage in run["stages"].values()) / 60
        cells = [VARIANTS[run["variant"]], str(run["seed"]), *scores, f"{val['gIoU']:.3f}", f"{val['P@0.5']:.3f}"]
        lines.append("| " + " | ".join([*cells, f"{minutes:.1f}", str(run["peak_rss_mb"])]) + " |")
    return "\n".join(lines)


def main() -> None:
    args = parse_args()
    plan = [(seed, "") for seed in args.seeds]
    plan += [(seed, variant) for seed in args.variant_seeds for variant in ("_no_ilvc", "_no_sefe")]
    runs = []
    for seed, variant in plan:
        folder = (args.work_dir / f"seed{seed}").resolve()
        runs.append(Quickstart(folder, CONFIGS, seed=seed, variant=variant).run() | {"variant": variant})
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
        ).stdout
        report = {
            "command": "python benchmarks/tiny.py",
            "commit": commit.strip(),
            "machine": {"cores": os.cpu_count(), "architecture": platform.machine(), "system": platform.system()},
            "runs": runs,
        }
        (HERE / "tiny.json").write_text(json.dumps(report, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
