"""Run the tiny recipe for several seeds, and without ILVC and without SEFE; write tiny.json, print the table of tiny.md."""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from captions import judge_captions

from lira_plugin.inference import LIRAInferencer
from lira_plugin.quickstart import Quickstart
from lira_plugin.scenes.scene_files import SceneFiles

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs" / "lira_tiny"
VARIANTS = {"": "LIRA", "_no_ilvc": "without ILVC", "_no_sefe": "without SEFE"}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/benchmark_tiny"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variant-seeds", type=int, nargs="*", default=[0], help="seeds of the two variants")
    return parser.parse_args()


def refined_gain(rows: list[dict[str, Any]], draws: int = 4000) -> list[float]:
    """cIoU of the refined masks less that of the coarse ones, and the 95 % interval of it over draws of as many images.

    Args:
        rows: of the sentences of a split, as :class:`lira_plugin.evaluation.ReferSegMetric` dumps them.
        draws: bootstrap samples.
    """
    keys = ("refined_I", "refined_U", "coarse_I", "coarse_U")
    images: dict[str, np.ndarray] = {}
    for row in rows:
        images[row["image"]] = images.get(row["image"], 0) + np.array([row[key] for key in keys])
    pixels = np.stack(list(images.values()))
    drawn = np.random.default_rng(0).multinomial(len(pixels), np.full(len(pixels), 1 / len(pixels)), draws)
    refined_i, refined_u, coarse_i, coarse_u = (np.vstack([np.ones(len(pixels)), drawn]) @ pixels).T
    gains = refined_i / refined_u - coarse_i / coarse_u
    return [round(float(gain), 4) for gain in (gains[0], *np.quantile(gains[1:], (0.025, 0.975)))]


def table(runs: list[dict[str, Any]]) -> str:
    """A Markdown table: one line a run, refined | coarse cIoU of each split, and phrases of captions that are true."""
    lines = [
        "| variant | seed | val refined | val coarse | testA refined | testA coarse | testB refined | testB coarse "
        "| val refined less coarse (95 %) | val gIoU | val P@0.5 | phrases refined | phrases coarse "
        "| iterations | minutes of training | peak MiB |",
        "|" + " --- |" * 16,
    ]
    for run in runs:
        scores = [
            f"{run['eval'][split][stage]['cIoU']:.3f}"
            for split in ("val", "testA", "testB")
            for stage in ("refined", "coarse")
        ]
        val = run["eval"]["val"]["refined"]
        minutes = sum(stage["seconds"] for stage in run["stages"].values()) / 60
        iterations = " + ".join(str(stage["iters"]) for stage in run["stages"].values())
        gain, low, high = run["refined_gain"]
        cells = [VARIANTS[run["variant"]], str(run["seed"]), *scores, f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"]
        cells += [f"{val['gIoU']:.3f}", f"{val['P@0.5']:.3f}"]
        cells += [f"{run['captions'][stage]:.2f}" for stage in ("refined", "coarse")]
        lines.append("| " + " | ".join([*cells, iterations, f"{minutes:.1f}", str(run["peak_rss_mb"])]) + " |")
    return "\n".join(lines)


def main() -> None:
    args = parse_args()
    plan = [(seed, "") for seed in args.seeds]
    plan += [(seed, variant) for seed in args.variant_seeds for variant in ("_no_ilvc", "_no_sefe")]
    runs = []
    for seed, variant in plan:
        folder = (args.work_dir / f"seed{seed}").resolve()
        quickstart = Quickstart(folder, CONFIGS, seed=seed, variant=variant)
        run = quickstart.run()
        lira = LIRAInferencer(folder / quickstart.stages[-1].folder, show_progress=False)
        captions = judge_captions(lira, SceneFiles(folder / "data")).shares()
        sentences = [row for row in json.loads(quickstart.sentences.read_text()) if row["source"] == "refcoco/val"]
        gain = refined_gain(sentences)
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
        ).stdout
        runs.append(run | {"captions": captions, "refined_gain": gain, "variant": variant, "commit": commit.strip()})
        report = {
            "command": "python benchmarks/tiny.py",
            "machine": {"cores": os.cpu_count(), "architecture": platform.machine(), "system": platform.system()},
            "runs": runs,
        }
        (HERE / "tiny.json").write_text(json.dumps(report, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
