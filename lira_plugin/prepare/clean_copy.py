"""A clean copy of annotation files: the same layouts, without exactly what the doctor has found wrong."""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lira_plugin.datasets import (
    CocoInstanceDataset,
    CocoPhraseDataset,
    CocoPromptDataset,
    GCGDataset,
    LlavaDataset,
    ReasonSegDataset,
    ReferSegDataset,
)
from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.check import SourceCheck
from lira_plugin.datasets.doctor import DoctorPart, class_of
from lira_plugin.datasets.findings import BadRecord, Finding
from lira_plugin.datasets.reason_seg import read_reason_json
from lira_plugin.datasets.scans import settings_of
from lira_plugin.prepare.cascades import FOLLOW, Units, follow_phrases, follow_refs, follow_whole_images
from lira_plugin.written_aside import write_json, write_text, written_aside

LEFT_OUT_FILE, SETTINGS_FILE = "left_out.jsonl", "settings.json"


class CleanCopy:
    """Writes the annotation files of examined data sets without what is wrong with them.

    Files lie below ``out`` as they lay below the folder that holds all of them. Images are not copied: those of ReasonSeg, which
    lie beside their JSON files, become links.

    Args:
        out: folder to write to.

    ``settings`` are the settings of the recipe that read the copy, ``left_out`` what is not in it with the reason, and
    ``unmended`` what no copy can mend.

    Raises:
        FileExistsError: the folder holds something.
        NotADirectoryError: it is a file.
    """

    def __init__(self, out: str | os.PathLike) -> None:
        self.out = Path(os.path.abspath(out))
        if self.out.is_dir() and any(self.out.iterdir()):
            raise FileExistsError(f"{out} is not empty; give a new folder, for the clean copy replaces nothing")
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"{out} is a file; give a new folder")
        self.settings: dict[str, str] = {}
        self.left_out: list[Finding] = []
        self.unmended: list[Finding] = []
        self._root: str | None = None
        self._targets: dict[str, list[Callable[[Any, Units], None]]] = {}

    def write(self, examined: Sequence[tuple[DoctorPart, SourceCheck]]) -> int:
        """Write the files of all data sets; returns how many things were left out because of what was found.

        It may be called again with what was found in the copy itself, which is then written anew.
        """
        before = len(self.left_out)
        self.unmended = []
        reasons: dict[str, Units] = {}
        copied = []
        for part, check in examined:
            can_copy = part.scan is not None and bool(part.scan.files)
            for finding in check.faults:
                if can_copy and finding.unit is not None and finding.file:
                    reasons.setdefault(finding.file, {}).setdefault(tuple(finding.unit), finding)
                else:
                    self.unmended.append(finding)
            if can_copy:
                copied.append(part)
        if self._root is None and copied:
            folders = [self._folder(part, file) for part in copied for file in part.scan.files]
            self._root = os.path.commonpath([os.path.dirname(os.path.abspath(folder)) for folder in folders])
        self._targets = {}
        for part in copied:
            if (follow := _follow_of(part)) is not None:
                self._targets.setdefault(part.scan.files[0], []).append(follow)
        done: set[str] = set()
        for part in copied:
            self._write_part(part, reasons, done)
        self.out.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"file": one.file, "record": one.record, "kind": str(one.kind), "message": one.message}) + "\n"
            for one in self.left_out
        ]
        write_text(self.out / LEFT_OUT_FILE, "".join(lines))
        write_json(self.out / SETTINGS_FILE, self.settings, indent=1)
        return len(self.left_out) - before

    @staticmethod
    def _folder(part: DoctorPart, file: str) -> str:
        """What tells where the copy goes: of a data set that names a root, a file directly below it."""
        kind = class_of(part.config)
        return os.path.join(part.config["data_root"], "_") if kind in (ReferSegDataset, ReasonSegDataset) else file

    def target(self, path: str | os.PathLike) -> Path:
        """Where the copy of a file or folder is."""
        path = os.path.abspath(path)
        if Path(path).is_relative_to(self.out):
            return self.out / os.path.relpath(path, self.out)
        return self.out / os.path.relpath(path, self._root)

    def _write_part(self, part: DoctorPart, reasons: dict[str, Units], done: set[str]) -> None:
        kind = class_of(part.config)
        settings = settings_of(kind, part.config)
        if kind in (ReferSegDataset, ReasonSegDataset):
            self.settings[f"{part.setting}.data_root"] = str(self.target(settings.data_root))
        else:
            self.settings[f"{part.setting}.ann_file"] = str(self.target(settings.ann_file))
        if part.scan.files[0] in done:
            return
        done.update(part.scan.files)
        if kind is ReasonSegDataset:
            self._write_reason(Path(settings.data_root) / settings.split, reasons)
        elif kind is ReferSegDataset:
            self._write_refer(*part.scan.files, reasons)
        else:
            (path,) = part.scan.files
            form = settings.layout if kind is GCGDataset else "" if kind is LlavaDataset else "coco"
            units = reasons.get(path, {})
            if units:
                content = read_annotations(path)
                for follow in self._targets.get(path, ()):
                    follow(content, units)
                if form:
                    FOLLOW[form](content, units)
                self._write(path, content, units)
            else:
                self._take(path)

    def _write_refer(self, refs_path: str, instances_path: str, reasons: dict[str, Units]) -> None:
        units, instance_units = reasons.get(refs_path, {}), reasons.get(instances_path, {})
        if not units and not instance_units:
            self._take(refs_path)
            self._take(instances_path)
            return
        refs, instances = read_annotations(refs_path), read_annotations(instances_path)
        FOLLOW["coco"](instances, instance_units)
        follow_refs(refs, units, instances, instance_units, refs_path)
        self._write(refs_path, refs, units)
        self._write(instances_path, instances, instance_units)

    def _write_reason(self, folder: Path, reasons: dict[str, Units]) -> None:
        for picture in sorted(folder.glob("*.jpg")):
            path = str(picture.with_suffix(".json"))
            units = reasons.get(path, {})
            try:
                content = read_reason_json(path) if units else None
            except BadRecord:  # the whole of it is to be left out
                content = None
            if content is not None:
                FOLLOW["reason"](content, units)
            link = self.target(picture)
            if () in units:
                self.left_out += units.values()
                link.unlink(missing_ok=True)
                self.target(path).unlink(missing_ok=True)
                continue
            if units:
                self._write(path, content, units)
            else:
                self._take(path)
            if not link.is_symlink():
                link.symlink_to(os.path.abspath(picture))
        alone = {
            file for file in reasons if Path(file).parent == folder and not Path(file).with_suffix(".jpg").exists()
        }
        self.left_out += [finding for file in sorted(alone) for finding in reasons[file].values()]

    def _take(self, path: str) -> None:
        """Copy a file as it is."""
        target = self.target(path)
        if str(target) != os.path.abspath(path):
            with written_aside(target) as unfinished:
                shutil.copyfile(path, unfinished)

    def _write(self, path: str, content: Any, units: Units) -> None:
        """Write a file without the units, which are noted."""
        self.left_out += units.values()
        kept = without(content, units)
        target = self.target(path)
        if path.endswith(".p"):
            with written_aside(target) as unfinished:
                unfinished.write_bytes(pickle.dumps(kept, 2))
        else:
            write_json(target, kept)


def _follow_of(part: DoctorPart) -> Callable[[Any, Units], None] | None:
    """What has to leave with an annotation, by what the reader of a COCO file makes one target."""
    kind = class_of(part.config)
    if kind in (CocoInstanceDataset, CocoPromptDataset):
        return follow_whole_images
    if kind is CocoPhraseDataset:
        return partial(follow_phrases, names=settings_of(kind, part.config).names)
    return None


def without(value: Any, units: Iterable[tuple[str | int, ...]]) -> Any:
    """A parsed value without what the units, keys and indices, lead to. Nothing of ``value`` is changed."""
    inner: dict[Any, list[tuple[str | int, ...]]] = {}
    for key, *rest in units:
        inner.setdefault(key, []).append(tuple(rest))
    if not inner:
        return value
    is_kept = {key: () not in rests for key, rests in inner.items()}
    if isinstance(value, dict):
        return {key: without(part, inner.get(key, ())) for key, part in value.items() if is_kept.get(key, True)}
    return [without(part, inner.get(key, ())) for key, part in enumerate(value) if is_kept.get(key, True)]
