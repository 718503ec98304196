"""The doctor: everything that is wrong with the data of a recipe, found in one run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

from lira_plugin.datasets.check import SourceCheck, message_of, parts_of, read_part
from lira_plugin.datasets.findings import LEFT_OUT, UNUSABLE, Finding
from lira_plugin.datasets.fitting import fit_to_model
from lira_plugin.datasets.image_checks import look_at_images
from lira_plugin.datasets.leakage import note_leakage
from lira_plugin.datasets.mixture import MixtureDataset
from lira_plugin.datasets.scans import SCANS, Scan, settings_of, source_of
from lira_plugin.datasets.transforms import LetterboxImage, PackGroundingInputs, TokenizeConversation
from lira_plugin.registry import DATASETS
from lira_plugin.settings import SHARE_KEYS
from lira_plugin.structures import FaultKind, InputSpec, kind_of


@dataclass
class DoctorPart:
    """One data set of a loader.

    Args:
        setting: its path in the recipe.
        config: what it is built from.
        dataset: as built, without its bad records; None where nothing of it can be read.
        lost: why nothing can be read.
        scan: of its files; None where its reader has none.
        pipelines: what its records go through.
    """

    setting: str
    config: dict[str, Any]
    dataset: Any = None
    lost: list[Finding] = field(default_factory=list)
    scan: Scan | None = None
    pipelines: tuple[Any, ...] = ()

    @property
    def source(self) -> str:
        """Data set and split."""
        if self.dataset is not None:
            return self.dataset.source
        keys = ("dataset", "split", "layout", "ann_file")
        return self.config.get("source") or " ".join(str(self.config[key]) for key in keys if key in self.config)


@dataclass(frozen=True)
class Reading:
    """How thoroughly data are read.

    Args:
        num_workers: processes that read.
        draws: times a record is read.
        every: read one record and image of so many.
        decode: decode the images.
        show_progress: show progress bars on a terminal.
        sources: that are looked at, such as ``own/train``; all if there are none.
    """

    num_workers: int = 0
    draws: int = 1
    every: int = 1
    decode: bool = True
    show_progress: bool = True
    sources: tuple[str, ...] = ()


_THOROUGH = Reading()


def examine(
    loaders: Mapping[str, dict[str, Any]],
    spec: InputSpec | None = None,
    reading: Reading = _THOROUGH,
    evaluated: Mapping[str, dict[str, Any]] | None = None,
) -> list[tuple[DoctorPart, SourceCheck]]:
    """Name everything that is wrong with the data sets of some loaders.

    The annotation files are scanned, then images and masks are decoded, each file once, and then the records that are left are
    made samples as a training makes them.

    Args:
        loaders: configs of data sets by setting, such as ``train_dataloader.dataset``.
        spec: what the model asks of its data.
        reading: how thoroughly.
        evaluated: further data sets, whose images alone are compared with those of the training.

    Returns:
        each data set of the loaders with what was found.

    Raises:
        ValueError: there is no such source.
    """
    parts = [part for setting, config in loaders.items() for part in _built(config, setting, spec)]
    others = [part for setting, config in (evaluated or {}).items() for part in _built(config, setting, spec)]
    unknown = sorted(set(reading.sources) - {part.source for part in parts})
    if unknown:
        raise ValueError(f"there is no source {unknown[0]!r}; there are {sorted({part.source for part in parts})}")
    parts = [part for part in parts if not reading.sources or part.source in reading.sources]
    for part in [*parts, *others]:
        _scan(part, spec)
    scans = [(part.scan, _square(part)) for part in parts if part.scan is not None]
    look_at_images(scans, reading.num_workers, reading.decode, reading.every, reading.show_progress)
    train = [part.scan for part in parts if part.scan and part.setting.startswith("train")]
    tests = [part.scan for part in [*parts, *others] if part.scan and not part.setting.startswith("train")]
    note_leakage(train, tests)
    return [(part, _findings_of(part, reading)) for part in parts]


def _built(config: dict[str, Any], setting: str, spec: InputSpec | None) -> list[DoctorPart]:
    """The data sets of a config, so that bad records, or bad parts of a mixture, do not hide the others."""
    parts: list[DoctorPart] = []
    dataset = build_to_check(config, setting, parts)
    if dataset is not None:
        fit_to_model(dataset, spec, setting)
        by_identity = {id(part.dataset): part for part in parts}
        for built, pipelines in parts_of(dataset):
            if id(built) in by_identity:
                by_identity[id(built)].pipelines = pipelines
    return parts


def build_to_check(config: dict[str, Any], setting: str, parts: list[DoctorPart]) -> Any | None:
    """Build a data set from its config, or None where nothing can be read; appends its parts to ``parts``."""
    if not _is_mixture(config):
        parts.append(_build_part(config, setting))
        return parts[-1].dataset
    built = []
    for position, entry in enumerate(config["datasets"]):  # shares of an epoch do not matter, for each record is read
        own = {key: value for key, value in entry.items() if key not in SHARE_KEYS}
        dataset = build_to_check(own, f"{setting}.datasets.{position}", parts)
        if dataset is not None:
            built.append(dataset)
    rest = {key: config[key] for key in ("type", "pipeline") if key in config}
    return DATASETS.build({**rest, "datasets": built}) if built else None


def class_of(config: dict[str, Any]) -> Any:
    """The class that a config names, by itself or by its name in the registry."""
    kind = config["type"]
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def _is_mixture(config: dict[str, Any]) -> bool:
    return class_of(config) is MixtureDataset and all(isinstance(entry, dict) for entry in config["datasets"])


def _build_part(config: dict[str, Any], setting: str) -> DoctorPart:
    kind = class_of(config)
    part = DoctorPart(setting, config)
    takes_bad = kind is not None and "on_bad_record" in signature(kind).parameters
    try:
        part.dataset = DATASETS.build({**config, "on_bad_record": "skip"} if takes_bad else config)
    except Exception as error:  # whatever would end a training is what is looked for
        found = list(getattr(error, "findings", ()))
        default = FaultKind.UNREADABLE_FILE if not found else FaultKind.UNUSABLE
        kind = default if isinstance(error, FileNotFoundError) else kind_of(error, default)
        part.lost = [*found, Finding(kind, part.source, "", message_of(error))]
        return part
    if config.get("on_bad_record") == "skip":
        part.dataset.findings = [
            replace(finding, effect=LEFT_OUT) if finding.effect == UNUSABLE else finding
            for finding in part.dataset.findings
        ]
    return part


def _scan(part: DoctorPart, spec: InputSpec | None) -> None:
    """Scan the files of a part whose format has a scan."""
    kind = class_of(part.config)
    if kind not in SCANS:
        return
    try:
        settings = settings_of(kind, part.config)
    except TypeError:  # an argument that the reader does not have, which is among the lost
        return
    part.scan = Scan(source_of(kind, settings), _spelt_by(part, spec), part.config.get("on_bad_record") == "skip")
    try:
        SCANS[kind](part.scan, settings)
    except (OSError, ValueError) as error:
        part.scan.findings.append(Finding(FaultKind.UNREADABLE_FILE, part.scan.source, "", message_of(error)))


def _step(part: DoctorPart, kind: type) -> Any | None:
    """The step of a kind that the records of a part go through."""
    steps = (step for pipeline in part.pipelines for step in pipeline.transforms)
    return next((step for step in steps if isinstance(step, kind)), None)


def _spelt_by(part: DoctorPart, spec: InputSpec | None) -> Callable[[str], list[str]]:
    """What gives the special tokens that a text spells; nothing where the pipeline takes them as plain letters."""
    step = _step(part, TokenizeConversation)
    if step is None and part.dataset is None and spec is not None and spec.tokenizer is not None:
        step = TokenizeConversation()
        step.fit_to_model(spec)
    if step is None or step.tokenizer is None or step.control_tokens == "plain":
        return lambda text: []
    return lambda text: step.encode.spelt_by(text, ((0, len(text)),))


def _square(part: DoctorPart) -> int | None:
    """Side of the square in which masks are learnt; None where they are only compared with."""
    letterbox, pack = _step(part, LetterboxImage), _step(part, PackGroundingInputs)
    return None if letterbox is None or pack is None or pack.for_generation else letterbox.size


def _findings_of(part: DoctorPart, reading: Reading) -> SourceCheck:
    """Make samples of a part, and put all findings together."""
    scan = part.scan
    found = list(scan.findings) if scan is not None else []
    check = SourceCheck(scan.source if scan is not None else part.source, findings=found)
    read_by_reader = part.lost if part.dataset is None else part.dataset.findings
    is_known = bool(found)
    check.findings += [one for one in read_by_reader if not is_known or one.kind is FaultKind.BY_RULE]
    if part.dataset is None:
        return check
    check.records = len(part.dataset)
    for sample in _samples(part, reading):
        check.add(sample)
    check.findings = list({_identity(finding): finding for finding in reversed(check.findings)}.values())[::-1]
    return check


def _samples(part: DoctorPart, reading: Reading) -> Iterator[Any]:
    return read_part(
        part.dataset,
        part.pipelines,
        reading.num_workers,
        reading.draws,
        reading.every,
        scan=part.scan,
        decode=reading.decode,
        show_progress=reading.show_progress,
    )


def _identity(finding: Finding) -> tuple[Any, ...]:
    """What tells findings apart: of one unit a kind counts once."""
    return (finding.kind, finding.record, finding.unit) if finding.unit is not None else (finding,)
