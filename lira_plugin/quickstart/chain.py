"""The whole tiny recipe in one go: write scenes, train stage after stage, evaluate, draw."""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.logging import print_log

from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.hooks.work_dir_lock import WorkDirLock
from lira_plugin.quickstart.stage_record import StageRecord, digest, digest_config
from lira_plugin.quickstart.xtuner_process import run_xtuner
from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.written_aside import write_json

PACKAGES = (
    "lira-plugin", "torch", "mmengine", "mmdet", "mmcv-lite", "mmcv", "xtuner", "transformers", "timm", "numpy",
    "pytorch-optimizer",
)  # fmt: skip
"""Whose versions ``metrics.json`` names."""


@dataclass(frozen=True)
class Stage:
    """One recipe of the chain: its name, its config, and the folder below the root that it trains in."""

    name: str
    config: Path
    folder: str


@dataclass(frozen=True)
class Quickstart:
    """Runs the tiny recipe; what a former run has made in the same way is kept.

    Args:
        work_dir: everything is written here.
        config_dir: where ``lira_tiny*.py`` are.
        seed: of data and training.
        scenes: training scenes.
        eval_scenes: scenes of each of val, testA and testB.
        background: of the scenes, ``plain`` or ``photo``.
        variant: suffix of the last stage's config: empty, ``_no_ilvc`` or ``_no_sefe``.
        options: ``key=value`` settings for every stage, as after xtuner's ``--cfg-options``.
        overwrite: train a stage anew that was made from something else; False is an error instead.
    """

    work_dir: Path
    config_dir: Path
    seed: int = 0
    scenes: int = 6000
    eval_scenes: int = 100
    background: str = "plain"
    variant: str = ""
    options: tuple[str, ...] = ()
    overwrite: bool = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Segmenter and semantic encoder, pretrain, finetune."""
        names = {
            "segmenter": "lira_tiny_segmenter",
            "semantic": "lira_tiny_semantic",
            "pretrain": "lira_tiny_pretrain",
            "finetune": f"lira_tiny{self.variant}",
        }
        return tuple(
            Stage(name, self.config_dir / f"{config}.py", f"lira{self.variant}" if name == "finetune" else name)
            for name, config in names.items()
        )

    @property
    def sentences(self) -> Path:
        """What the evaluation writes: one object a sentence, see :class:`~lira_plugin.evaluation.ReferSegMetric`."""
        return self.work_dir / self.stages[-1].folder / "test" / "sentences.json"

    def run(self) -> dict[str, Any]:
        """Do everything that is not done; return what is in ``metrics.json``.

        Raises:
            ValueError: the folder holds scenes or stages that were made from something else.
            RuntimeError: a stage or the evaluation failed, or another quickstart runs in the folder.
        """
        os.environ["LIRA_TINY_ROOT"] = str(self.work_dir)
        lock = WorkDirLock(self.work_dir)
        try:
            files = self.make_data()
            report = self._train_and_evaluate(files)
            panel = self.work_dir / f"panel{self.variant}.png"
            if not panel.is_file() or panel.stat().st_mtime < self._metrics.stat().st_mtime:
                self.draw(files, panel)
        finally:
            lock.release()
        return report

    @property
    def _metrics(self) -> Path:
        return self.work_dir / f"metrics{self.variant}.json"

    def _train_and_evaluate(self, files: SceneFiles) -> dict[str, Any]:
        records: dict[str, StageRecord] = {}
        results: dict[str, str] = {}
        for stage in self.stages:
            records[stage.name] = self.train(stage, self.made_from(stage, files, results))
            results[stage.name] = records[stage.name].checkpoint
        made_from = self.made_from(self.stages[-1], files, results)
        path = self._metrics
        report = json.loads(path.read_text()) if path.is_file() else {}
        if report.get("made_from") != made_from:
            scores, peak = self.evaluate()
            report = {
                "eval": scores,
                "stages": {name: {"seconds": r.seconds, "iters": r.iters} for name, r in records.items()},
                "versions": _versions(),
                "seed": self.seed,
                "peak_rss_mb": max(peak, *(record.peak_rss_mb for record in records.values())),
                "made_from": made_from,
            }
            write_json(path, report, indent=2)
        return report

    def made_from(self, stage: Stage, files: SceneFiles, results: Mapping[str, str]) -> dict[str, Any]:
        """All that determines the outcome of a stage; ``results`` are digests of the checkpoints that it starts from."""
        return {
            "config": digest_config(stage.config),
            "options": list(self.options),
            "seed": self.seed,
            "scenes": files.settings,
            "earlier stages": dict(results),
        }

    def make_data(self) -> SceneFiles:
        """Write the scenes and their tokenizer, unless they are there."""
        files = write_scenes(
            self.work_dir / "data", self.scenes, self.eval_scenes, seed=self.seed, background=self.background
        )
        write_scene_tokenizer(files)
        return files

    def train(self, stage: Stage, made_from: dict[str, Any]) -> StageRecord:
        """Run ``xtuner train`` for one stage, resuming where it was interrupted; nothing if it is finished.

        Raises:
            ValueError: its folder holds checkpoints that were made from something else, and ``overwrite`` is False.
        """
        folder = self.work_dir / stage.folder
        record, checkpoint = StageRecord.read(folder), _checkpoint_in(folder)
        if checkpoint and (changes := record.differences(made_from, checkpoint)):
            self._forget(stage, changes)
            record, checkpoint = StageRecord({}), None
        if checkpoint and record.iters is not None:
            return record
        command = ["train", str(stage.config), "--work-dir", str(folder), "--seed", str(self.seed)]
        before = 0.0
        if checkpoint:
            command += ["--resume", str(checkpoint)]
            before = record.seconds + max(0.0, checkpoint.stat().st_mtime - record.started)
        StageRecord(made_from, time.time(), before).write(folder)
        start = time.perf_counter()
        peak = run_xtuner(command + self._cfg_options(), folder, stage.name)
        seconds = round(before + time.perf_counter() - start, 1)
        checkpoint = find_checkpoint(folder)
        iters = int(checkpoint.stem.removeprefix("iter_"))
        record = StageRecord(made_from, 0.0, seconds, iters, digest(checkpoint.read_bytes()), peak)
        record.write(folder)
        return record

    def _forget(self, stage: Stage, changes: str) -> None:
        """Let a stage start anew, if that is allowed."""
        folder = self.work_dir / stage.folder
        if not self.overwrite:
            raise ValueError(
                f"{folder} holds checkpoints that were made from something else: {changes}. Give the settings that they were "
                "made with, choose another --work-dir, or train anew with --overwrite."
            )
        print_log(f"{stage.name}: trained anew, because the settings differ: {changes}", logger="current")
        (folder / "last_checkpoint").unlink()

    def _cfg_options(self, *more: str) -> list[str]:
        options = [*self.options, *more]
        return ["--cfg-options", *options] if options else []

    def evaluate(self) -> tuple[dict[str, dict[str, dict[str, float]]], int]:
        """Run ``xtuner test`` over val, testA and testB; the scores of each sentence go to :attr:`sentences`.

        Returns:
            ``scores[split][refined|coarse][name]``, and the highest resident memory of the process in MiB.
        """
        stage = self.stages[-1]
        folder = self.work_dir / stage.folder
        output = folder / "test"
        command = ["test", str(stage.config), "--work-dir", str(output)]
        command += ["--checkpoint", str(find_checkpoint(folder))]
        command += self._cfg_options(f"test_evaluator.dump={self.sentences}")
        peak = run_xtuner(command, output, "evaluate")
        newest = max(output.glob("*/*.json"), key=lambda path: path.stat().st_mtime)
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for key, value in json.loads(newest.read_text()).items():
            source, *names = key.removeprefix("refcoco/").split("/")
            if len(names) == 2:
                scores.setdefault(source, {}).setdefault(names[0], {})[names[1]] = value
            elif names:
                scores.setdefault(source, {})[names[0]] = value
        return scores, peak

    def draw(self, files: SceneFiles, path: Path) -> None:
        """Draw questions of every task about val scenes, as ``tools/panels.py`` does."""
        from lira_plugin.inference import LIRAInferencer
        from lira_plugin.scenes.scene_questions import scene_questions
        from lira_plugin.visualization import draw_panels, save_image

        stage = self.stages[-1]
        config = Config.fromfile(stage.config)
        parser = argparse.ArgumentParser()
        parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
        config.merge_from_dict(parser.parse_args(self._cfg_options()).cfg_options)
        lira = LIRAInferencer(config, self.work_dir / stage.folder)
        save_image(path, draw_panels(lira, scene_questions(files)))


def _checkpoint_in(folder: Path) -> Path | None:
    """The last checkpoint of a stage; None before there is one."""
    with suppress(FileNotFoundError):
        return find_checkpoint(folder)
    return None


def _versions() -> dict[str, str]:
    """Of Python and of those packages that are installed: there is mmcv-lite or mmcv."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def format_summary(report: dict[str, Any]) -> str:
    """The scores of a run as a small table."""
    lines = ["split   masks      cIoU   gIoU  P@0.5"]
    for split, by_stage in report["eval"].items():
        for mask_stage in ("refined", "coarse"):
            scores = by_stage[mask_stage]
            lines.append(f"{split:7} {mask_stage:7} {scores['cIoU']:7.3f} {scores['gIoU']:6.3f} {scores['P@0.5']:6.3f}")
    seconds = sum(stage["seconds"] for stage in report["stages"].values())
    lines.append(f"trained for {seconds / 60:.1f} minutes; the largest process took {report['peak_rss_mb']} MiB")
    return "\n".join(lines)
