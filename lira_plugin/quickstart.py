"""The whole tiny recipe in one go: write scenes, train three stages, evaluate, draw."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lira_plugin.datasets.scene_files import SceneFiles, write_scenes
from lira_plugin.datasets.scene_tokenizer import write_scene_tokenizer

PACKAGES = ("lira-plugin", "torch", "mmengine", "mmdet", "mmcv-lite", "xtuner", "transformers", "timm", "numpy")


@dataclass(frozen=True)
class Stage:
    """One recipe of the chain: its name, its config, and the folder below the root that it trains in."""

    name: str
    config: Path
    folder: str


@dataclass(frozen=True)
class Quickstart:
    """Runs the tiny recipe; what a former run has finished is kept.

    Args:
        work_dir: everything is written here.
        config_dir: where ``lira_tiny*.py`` are.
        seed: of data and training.
        scenes: training scenes.
        eval_scenes: scenes of each of val, testA and testB.
        background: of the scenes, ``plain`` or ``photo``.
        variant: suffix of the last stage's config: empty, ``_no_ilvc`` or ``_no_sefe``.
        options: ``key=value`` settings for every stage, as after xtuner's ``--cfg-options``.
    """

    work_dir: Path
    config_dir: Path
    seed: int = 0
    scenes: int = 6000
    eval_scenes: int = 100
    background: str = "plain"
    variant: str = ""
    options: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Segmenter, pretrain, finetune."""
        names = {
            "segmenter": "lira_tiny_segmenter",
            "pretrain": "lira_tiny_pretrain",
            "finetune": f"lira_tiny{self.variant}",
        }
        folders = {"segmenter": "segmenter", "pretrain": "pretrain", "finetune": f"lira{self.variant}"}
        return tuple(Stage(name, self.config_dir / f"{config}.py", folders[name]) for name, config in names.items())

    def run(self) -> dict[str, Any]:
        """Do everything; return what is in ``metrics.json``."""
        os.environ["LIRA_TINY_ROOT"] = str(self.work_dir)
        files = self.make_data()
        stages = {stage.name: self.train(stage) for stage in self.stages}
        report = {
            "eval": self.evaluate(),
            "stages": stages,
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "seed": self.seed,
            "peak_rss_mb": _peak_rss_mb(),
        }
        path = self.work_dir / f"metrics{self.variant}.json"
        path.write_text(json.dumps(report, indent=2) + "\n")
        self.draw(files)
        return report

    def make_data(self) -> SceneFiles:
        """Write the scenes and their tokenizer, unless they are there."""
        files = write_scenes(
            self.work_dir / "data", self.scenes, self.eval_scenes, seed=self.seed, background=self.background
        )
        write_scene_tokenizer(files)
        return files

    def train(self, stage: Stage) -> dict[str, float]:
        """Run ``xtuner train`` for one stage, resuming where it was interrupted.

        Returns:
            ``seconds`` of the process that finished it, imports included, and ``iters``.
        """
        folder = self.work_dir / stage.folder
        record = folder / "finished.json"
        if record.is_file():
            return json.loads(record.read_text())
        command = ["train", str(stage.config), "--work-dir", str(folder), "--seed", str(self.seed)]
        if self.options:
            command += ["--cfg-options", *self.options]
        marker = folder / "last_checkpoint"
        if marker.is_file():
            command += ["--resume", marker.read_text().strip()]
        start = time.perf_counter()
        _xtuner(command, folder, stage.name)
        iters = marker.read_text().strip().rpartition("iter_")[2].removesuffix(".pth")
        result = {"seconds": round(time.perf_counter() - start, 1), "iters": int(iters)}
        record.write_text(json.dumps(result) + "\n")
        return result

    def evaluate(self) -> dict[str, dict[str, dict[str, float]]]:
        """Run ``xtuner test`` over val, testA and testB; return ``scores[split][refined|coarse][name]``."""
        stage = self.stages[-1]
        folder = self.work_dir / stage.folder
        output = folder / "test"
        command = ["test", str(stage.config), "--work-dir", str(output)]
        _xtuner([*command, "--checkpoint", (folder / "last_checkpoint").read_text().strip()], output, "evaluate")
        newest = max(output.glob("*/*.json"), key=lambda path: path.stat().st_mtime)
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for key, value in json.loads(newest.read_text()).items():
            source, *names = key.removeprefix("refcoco/").split("/")
            if len(names) == 2:
                scores.setdefault(source, {}).setdefault(names[0], {})[names[1]] = value
            elif names:
                scores.setdefault(source, {})[names[0]] = value
        return scores

    def draw(self, files: SceneFiles) -> Path:
        """Draw ``panel.png``: questions of every task about val scenes, as ``tools/panels.py`` does."""
        from lira_plugin.datasets.scene_questions import scene_questions
        from lira_plugin.inference import LIRAInferencer
        from lira_plugin.visualization import draw_panels, save_image

        stage = self.stages[-1]
        lira = LIRAInferencer(stage.config, self.work_dir / stage.folder)
        path = self.work_dir / f"panel{self.variant}.png"
        save_image(path, draw_panels(lira, scene_questions(files)))
        return path


def _xtuner(arguments: list[str], folder: Path, name: str) -> None:
    """Run xtuner in a process of its own with a progress bar; its output goes to a log file.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"xtuner_{arguments[0]}.log"
    module = f"xtuner.tools.{arguments[0]}"
    started = time.time()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments[1:]], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _follow(process, folder, name, started)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        command = " ".join(["xtuner", *arguments])
        raise RuntimeError(f"`{command}` failed (whole output in {log}):\n{tail}")


def _follow(process: subprocess.Popen, folder: Path, name: str, started: float) -> None:
    """Show the iteration and loss that MMEngine logs until the process ends."""
    with tqdm(desc=name, bar_format="{desc}: {n_fmt} iterations, {elapsed}{postfix}", disable=None) as bar:
        while process.poll() is None:
            time.sleep(0.5)
            rows = [row for row in _scalars(folder, newer_than=started) if "iter" in row]
            if rows:
                bar.n = rows[-1]["iter"]
                bar.set_postfix(
                    {key: f"{rows[-1][key]:.3g}" for key in ("loss", "lr") if key in rows[-1]}, refresh=False
                )
            bar.refresh()


def _scalars(folder: Path, newer_than: float) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        if path.stat().st_mtime >= newer_than:
            for line in path.read_text().splitlines():
                if line.endswith("}"):
                    yield json.loads(line)


def _peak_rss_mb() -> int:
    """Highest resident memory of this process or any of its children, in MiB."""
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(usage) // (1 if sys.platform == "linux" else 1024) // 1024


def format_summary(report: dict[str, Any]) -> str:
    """The scores of a run as a small table."""
    lines = ["split   masks      cIoU   gIoU  P@0.5"]
    for split, views in report["eval"].items():
        for view in ("refined", "coarse"):
            scores = views[view]
            lines.append(f"{split:7} {view:7} {scores['cIoU']:7.3f} {scores['gIoU']:6.3f} {scores['P@0.5']:6.3f}")
    seconds = sum(stage["seconds"] for stage in report["stages"].values())
    lines.append(f"trained for {seconds / 60:.1f} minutes, at most {report['peak_rss_mb']} MiB of memory")
    return "\n".join(lines)
