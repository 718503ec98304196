"""Where each tensor of a checkpoint goes: rules, their check against the files, and their application."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lira_plugin.convert.safetensors_folder import TensorInfo


class TensorSource(Protocol):
    """Where tensors are read from, one at a time."""

    infos: Mapping[str, TensorInfo]
    origin: str
    """Tells this state of the files from any other."""

    def read(self, name: str) -> Tensor:
        """One tensor."""


def _whole(tensor: Tensor) -> tuple[Tensor]:
    return (tensor,)


def _single(parts: Sequence[Tensor]) -> Tensor:
    (tensor,) = parts
    return tensor


@dataclass(frozen=True)
class TensorRule:
    """One tensor of a checkpoint becomes one or several of ours."""

    source: str
    shape: tuple[int, ...]
    """Expected of the source."""
    targets: tuple[str, ...]
    split: Callable[[Tensor], tuple[Tensor, ...]] = _whole
    """Gives the targets' tensors."""
    join: Callable[[Sequence[Tensor]], Tensor] = _single
    """Undoes ``split``, for layouts that are written too."""

    def source_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the source."""
        return {self.source: self.shape}

    def read(self, source: TensorSource) -> tuple[Tensor, ...]:
        """The targets' tensors."""
        return self.split(source.read(self.source))

    def target_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the targets."""
        parts = self.split(torch.empty(self.shape, device="meta"))
        return {name: tuple(part.shape) for name, part in zip(self.targets, parts, strict=True)}


@dataclass(frozen=True)
class StackRule:
    """Several tensors of a checkpoint, of one shape, become one of ours: their rows follow each other."""

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    """Expected of each source."""
    target: str

    @property
    def targets(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def source_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the sources."""
        return dict.fromkeys(self.sources, self.shape)

    def read(self, source: TensorSource) -> tuple[Tensor, ...]:
        """The target's tensor."""
        return (torch.cat([source.read(name) for name in self.sources]),)

    def target_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the target."""
        rows, *others = self.shape
        return {self.target: (len(self.sources) * rows, *others)}


Rule = TensorRule | StackRule


def weight_only(source: str, target: str, shape: tuple[int, ...]) -> TensorRule:
    """The weight of a layer without bias."""
    return TensorRule(f"{source}.weight", shape, (f"{target}.weight",))


def affine(source: str, target: str, shape: tuple[int, ...]) -> list[TensorRule]:
    """Weight and bias of a layer; the weight's shape is given."""
    return [weight_only(source, target, shape), TensorRule(f"{source}.bias", shape[:1], (f"{target}.bias",))]


def check_targets(rules: Sequence[Rule], infos: Mapping[str, TensorInfo], where: str) -> None:
    """As :func:`check_rules`, the other way round: the tensors that there are must be the targets.

    Raises:
        ValueError: see :func:`check_rules`.
    """
    targets = [TensorRule(name, shape, (name,)) for rule in rules for name, shape in rule.target_shapes().items()]
    check_rules(targets, infos, where)


def check_rules(
    rules: Sequence[Rule], infos: Mapping[str, TensorInfo], where: str, unused: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Compare what the rules expect with what there is, and give the unused tensors with the reason.

    Args:
        rules: for all tensors that are used.
        infos: the tensors that there are.
        where: the checkpoint, for the message.
        unused: regular expressions of names that are not used, with the reason.

    Raises:
        ValueError: a tensor is missing, unknown, misshapen or not of floating point; up to four of each kind are named, with file
            and expected shape.
    """
    expected = {name: shape for rule in rules for name, shape in rule.source_shapes().items()}
    reasons = {
        name: reason
        for name in infos.keys() - expected.keys()
        for pattern, reason in (unused or {}).items()
        if re.fullmatch(pattern, name)
    }
    known = {name: infos[name] for name in expected if name in infos}
    problems = {
        "missing": [f"{name} {shape}" for name, shape in expected.items() if name not in infos],
        "unknown": [
            f"{name} {info.shape} in {info.file.name}"
            for name, info in infos.items()
            if name not in expected and name not in reasons
        ],
        "of another shape": [
            f"{name} {info.shape} in {info.file.name}, expected {expected[name]}"
            for name, info in known.items()
            if info.shape != expected[name]
        ],
        "not of floating point": [
            f"{name} {info.dtype} in {info.file.name}"
            for name, info in known.items()
            if not isinstance(info.dtype, torch.dtype)
        ],
    }
    found = [
        f"{len(names)} {kind}: {'; '.join(names[:4])}" + ("; ..." if len(names) > 4 else "")
        for kind, names in problems.items()
        if names
    ]
    if found:
        raise ValueError(f"{where} does not have the expected tensors\n  " + "\n  ".join(found))
    return reasons


def read_targets(
    rules: Sequence[Rule], source: TensorSource, dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of the targets, one source after another; ``dtype`` None keeps that of the files."""
    for rule in rules:
        parts = zip(rule.targets, rule.read(source), strict=True)
        yield from ((name, part.to(dtype or part.dtype)) for name, part in parts)
