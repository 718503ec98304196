"""The whole tiny recipe in one go: write scenes, train stage after stage, evaluate, draw."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.hooks.work_dir_lock import WorkDirLock
from lira_plugin.quickstart.families import FULL, Family, Stage
from lira_plugin.quickstart.forked_jobs import Job, LogEnd, Usage, import_early, run_jobs, xtuner_job
from lira_plugin.quickstart.run_progress import RunProgress, Step
from lira_plugin.quickstart.stage_record import StageRecord, digest, digest_config
from lira_plugin.scenes.scene_drawing import Background
from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.written_aside import write_json

PACKAGES = (
    "lira-plugin", "torch", "mmengine", "mmdet", "mmcv-lite", "mmcv", "xtuner", "transformers", "timm", "numpy",
    "pytorch-optimizer",
)  # fmt: skip
"""Whose versions ``metrics.json`` names."""


@dataclass(frozen=True)
class Quickstart:
    """Runs the tiny recipe; what a former run has made in the same way is kept.

    Args:
        work_dir: everything is written here.
        config_dir: where ``lira_tiny*.py`` are.
        seed: of data and training.
        scenes: training scenes; None for as many as the family has.
        eval_scenes: scenes of each of val, testA and testB; None for as many as the family has.
        background: of the scenes, ``plain`` or ``photo``.
        variant: suffix of the last stage's config: empty, ``_no_ilvc`` or ``_no_sefe``.
        options: ``key=value`` settings for every stage, as after xtuner's ``--cfg-options``.
        overwrite: train a stage anew that was made from something else; False is an error instead.
        family: the recipes and their scenes, :data:`~lira_plugin.quickstart.families.FULL` or ``FAST``.
    """

    work_dir: Path
    config_dir: Path
    seed: int = 0
    scenes: int | None = None
    eval_scenes: int | None = None
    background: Background = "plain"
    variant: str = ""
    options: tuple[str, ...] = ()
    overwrite: bool = False
    family: Family = FULL

    @property
    def groups(self) -> tuple[tuple[Stage, ...], ...]:
        """The stages in order; those of a group are trained side by side."""
        return tuple(self.family.stages(self.variant))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order; the last one gives the model."""
        return tuple(stage for group in self.groups for stage in group)

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
            if not self._metrics.is_file():  # there is something to do
                import_early()
            progress = RunProgress(self._steps())
            progress.begin(has_bar=False)
            files = self.make_data()
            report = self._train_and_evaluate(files, progress)
            progress.end()
        finally:
            lock.release()
        return report

    def _steps(self) -> list[Step]:
        steps = [Step(" and ".join(stage.name for stage in group), group[0].seconds) for group in self.groups]
        return [Step("scenes", self.family.scene_seconds), *steps, Step("evaluate", self.family.eval_seconds)]

    @property
    def _metrics(self) -> Path:
        return self.work_dir / f"metrics{self.variant}.json"

    def _train_and_evaluate(self, files: SceneFiles, progress: RunProgress) -> dict[str, Any]:
        records: dict[str, StageRecord] = {}
        results: dict[str, str] = {}
        for group in self.groups:
            progress.begin()
            made_from = {stage.name: self.made_from(stage, files, results) for stage in group}
            records |= self.train(group, made_from, progress.show)
            results |= {stage.name: records[stage.name].checkpoint for stage in group}
        progress.begin()
        made_from = self.made_from(self.stages[-1], files, results)
        path = self._metrics
        report = json.loads(path.read_text()) if path.is_file() else {}
        jobs = [] if report.get("made_from") == made_from else [self._test_job()]
        checkpoint = find_checkpoint(self.work_dir / self.stages[-1].folder)
        if not self.panel.is_file() or self.panel.stat().st_mtime < checkpoint.stat().st_mtime:
            jobs.append(self._panel_job())
        usages = run_jobs(jobs, progress.show) if jobs else []
        if report.get("made_from") != made_from:
            report = {
                "eval": self._scores(),
                "stages": {name: {"seconds": r.seconds, "iters": r.iters} for name, r in records.items()},
                "versions": _versions(),
                "seed": self.seed,
                "peak_rss_mb": max(usages[0].peak_rss_mb, *(record.peak_rss_mb for record in records.values())),
                "made_from": made_from,
            }
            write_json(path, report, indent=2)
        return report

    def made_from(self, stage: Stage, files: SceneFiles, results: Mapping[str, str]) -> dict[str, Any]:
        """All that determines the outcome of a stage; ``results`` are digests of the checkpoints that it starts from."""
        return {
            "config": digest_config(stage.config_in(self.config_dir)),
            "options": list(self.options),
            "seed": self.seed,
            "scenes": files.settings,
            "earlier stages": dict(results),
        }

    def make_data(self) -> SceneFiles:
        """Write the scenes and their tokenizer, unless they are there."""
        files = write_scenes(
            self.work_dir / "data",
            self.family.scenes if self.scenes is None else self.scenes,
            self.family.eval_scenes if self.eval_scenes is None else self.eval_scenes,
            seed=self.seed,
            size=self.family.size,
            background=self.background,
            level=self.family.level,
        )
        write_scene_tokenizer(files)
        return files

    def train(
        self,
        stages: Sequence[Stage],
        made_from: Mapping[str, dict[str, Any]],
        show: Callable[[Sequence[LogEnd]], None],
    ) -> dict[str, StageRecord]:
        """Run ``xtuner train`` for stages side by side, resuming where one was interrupted; nothing for those that are finished.

        Args:
            stages: to be trained.
            made_from: of each stage, by its name, see :meth:`made_from`.
            show: see :func:`~lira_plugin.quickstart.forked_jobs.run_jobs`.

        Returns:
            The records of the finished stages by name.

        Raises:
            ValueError: a folder holds checkpoints that were made from something else, and ``overwrite`` is False.
        """
        records = {stage: self._record(stage, made_from[stage.name]) for stage in stages}
        waiting = [stage for stage, record in records.items() if record.iters is None]
        jobs = [self._job(stage, resume=records[stage].made_from != {}) for stage in waiting]
        for stage in waiting:
            before = _seconds_before(records[stage], self.work_dir / stage.folder)
            records[stage] = StageRecord(made_from[stage.name], time.time(), before)
            records[stage].write(self.work_dir / stage.folder)
        for stage, usage in zip(waiting, run_jobs(jobs, show) if jobs else (), strict=True):
            records[stage] = self._finish(stage, records[stage], usage)
        return {stage.name: record for stage, record in records.items()}

    def _record(self, stage: Stage, made_from: dict[str, Any]) -> StageRecord:
        """The record of a stage with checkpoints that may be used; an empty one where it is to be trained from the start."""
        folder = self.work_dir / stage.folder
        record, checkpoint = StageRecord.read(folder), _checkpoint_in(folder)
        if checkpoint is None:
            return StageRecord({})
        if changes := record.differences(made_from, checkpoint):
            self._forget(stage, changes)
            return StageRecord({})
        return record

    def _job(self, stage: Stage, resume: bool) -> Job:
        folder = self.work_dir / stage.folder
        command = ["train", str(stage.config_in(self.config_dir)), "--work-dir", str(folder), "--seed", str(self.seed)]
        if resume:
            command += ["--resume", str(find_checkpoint(folder))]
        return xtuner_job(stage.name, command + self._cfg_options(), folder)

    def _finish(self, stage: Stage, begun: StageRecord, usage: Usage) -> StageRecord:
        checkpoint = find_checkpoint(self.work_dir / stage.folder)
        record = StageRecord(
            begun.made_from,
            0.0,
            round(begun.seconds + usage.seconds, 1),
            int(checkpoint.stem.removeprefix("iter_")),
            digest(checkpoint.read_bytes()),
            usage.peak_rss_mb,
        )
        record.write(self.work_dir / stage.folder)
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

    @property
    def panel(self) -> Path:
        """A picture of answers to questions of every task."""
        return self.work_dir / f"panel{self.variant}.png"

    def _test_job(self) -> Job:
        """``xtuner test`` over the splits; the scores of each sentence go to :attr:`sentences`."""
        stage = self.stages[-1]
        folder = self.work_dir / stage.folder
        command = ["test", str(stage.config_in(self.config_dir)), "--work-dir", str(self.sentences.parent)]
        command += ["--checkpoint", str(find_checkpoint(folder))]
        command += self._cfg_options(f"test_evaluator.dump={self.sentences}")
        return xtuner_job("evaluate", command, self.sentences.parent)

    def _scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """``scores[split][refined|coarse][name]`` of the latest test."""
        newest = max(self.sentences.parent.glob("*/*.json"), key=lambda path: path.stat().st_mtime)
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for key, value in json.loads(newest.read_text()).items():
            source, *names = key.removeprefix("refcoco/").split("/")
            if len(names) == 2:
                scores.setdefault(source, {}).setdefault(names[0], {})[names[1]] = value
            elif names:
                scores.setdefault(source, {})[names[0]] = value
        return scores

    def _panel_job(self) -> Job:
        """Draw questions of every task about val scenes, as ``tools/panels.py`` does."""
        stage = self.stages[-1]
        folder = self.work_dir / stage.folder
        arguments = [str(stage.config_in(self.config_dir)), str(folder), str(self.work_dir / "data"), str(self.panel)]
        return Job("panel", "lira_plugin.quickstart.panel", arguments + self._cfg_options(), folder / "panel.log")


def _seconds_before(record: StageRecord, folder: Path) -> float:
    """Seconds of the interrupted processes of a stage up to its last checkpoint."""
    if not record.made_from:
        return 0.0
    return record.seconds + max(0.0, find_checkpoint(folder).stat().st_mtime - record.started)


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
