"""Write converted tensors as shards that a broken-off run leaves behind finished or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from lira_plugin.convert.safetensors_folder import read_header
from lira_plugin.convert.tensor_rules import Rule, TensorSource, read_targets
from lira_plugin.written_aside import UNFINISHED, write_json, written_aside

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class _Shard:
    """A file to write."""

    name: str
    rules: tuple[Rule, ...]
    tensors: dict[str, tuple[tuple[int, ...], torch.dtype]]
    size: int
    """Bytes of the tensors."""


def write_shards(
    rules: Sequence[Rule],
    source: TensorSource,
    out: str | Path,
    dtype: torch.dtype | None = None,
    shard_bytes: float = 2e9,
) -> list[Path]:
    """Convert into ``out``, as Hugging Face names shards and index.

    Memory holds one output shard at most. A shard gets its name when it is complete; one that an earlier run made from the same
    files is kept.

    Args:
        rules: what goes where, in the order of the output.
        source: where from.
        out: folder, made where it is missing.
        dtype: of the output; None keeps that of the files.
        shard_bytes: a shard is at most this large, unless it holds a single source tensor.

    Returns:
        The shards.

    Raises:
        ValueError: ``out`` has shards of another division, which a reader could take for these.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shards = _divide(rules, source, dtype, shard_bytes)
    strangers = {path.name for path in out.glob("*.safetensors*")} - {shard.name for shard in shards}
    strangers -= {INDEX} if len(shards) > 1 else set()
    strangers = {name for name in strangers if not name.endswith(UNFINISHED)}
    if strangers:
        raise ValueError(f"{out} holds {sorted(strangers)} of another conversion: remove them or choose another folder")
    with tqdm(total=sum(shard.size for shard in shards), unit="B", unit_scale=True, desc=str(out)) as bar:
        for shard in shards:
            if not _is_finished(out / shard.name, shard, source):
                _write(out / shard.name, shard, source, dtype)
            bar.update(shard.size)
    if len(shards) > 1:
        weight_map = {name: shard.name for shard in shards for name in shard.tensors}
        index = {"metadata": {"total_size": sum(shard.size for shard in shards)}, "weight_map": weight_map}
        write_json(out / INDEX, index, indent=1)
    return [out / shard.name for shard in shards]


def _write(path: Path, shard: _Shard, source: TensorSource, dtype: torch.dtype | None) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in read_targets(shard.rules, source, dtype)}
    with written_aside(path) as unfinished:
        save_file(tensors, unfinished, metadata={"format": "pt", "origin": source.origin})


def _is_finished(path: Path, shard: _Shard, source: TensorSource) -> bool:
    if not path.is_file():
        return False
    try:
        infos, metadata = read_header(path)
    except ValueError:  # cut off: written again
        return False
    found = {name: (info.shape, info.dtype) for name, info in infos.items()}
    return found == shard.tensors and metadata.get("origin") == source.origin


def _divide(rules: Sequence[Rule], source: TensorSource, dtype: torch.dtype | None, shard_bytes: float) -> list[_Shard]:
    groups = list(_groups(rules, source, dtype, shard_bytes))
    shards = []
    for index, group in enumerate(groups, 1):
        name = f"model-{index:05d}-of-{len(groups):05d}.safetensors" if len(groups) > 1 else "model.safetensors"
        tensors = {
            target: (shape, dtype or _dtype(rule, source))
            for rule in group
            for target, shape in rule.target_shapes().items()
        }
        size = sum(prod(shape) * kind.itemsize for shape, kind in tensors.values())
        shards.append(_Shard(name, tuple(group), tensors, size))
    return shards


def _groups(
    rules: Sequence[Rule], source: TensorSource, dtype: torch.dtype | None, shard_bytes: float
) -> Iterator[list[Rule]]:
    group, total = [], 0
    for rule in rules:
        values = sum(map(prod, rule.source_shapes().values()))
        size = values * (dtype or _dtype(rule, source)).itemsize
        if group and total + size > shard_bytes:
            yield group
            group, total = [], 0
        group.append(rule)
        total += size
    yield group


def _dtype(rule: Rule, source: TensorSource) -> torch.dtype:
    """Of what the files hold."""
    return source.infos[next(iter(rule.source_shapes()))].dtype
