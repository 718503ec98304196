"""A Hugging Face folder of safetensors, read one tensor at a time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lira_plugin.json_file import read_json

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class TensorInfo:
    """What a file's header says of a tensor."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | str
    """A string where PyTorch's floating point has no such type."""


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a Hugging Face folder.

    Raises:
        FileNotFoundError: no folder, or none of Hugging Face's.
        ValueError: the file is cut off.
    """
    path = folder / "config.json"
    if not path.is_file():
        state = "has no config.json: a Hugging Face model folder is expected" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {state}")
    return read_json(path)


def read_header(file: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Tensors and metadata of a safetensors file; nothing else is read.

    Raises:
        ValueError: the file is cut off or no safetensors.
    """
    try:
        with safe_open(file, "pt") as content:
            slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118  (not a mapping)
            infos = {
                name: TensorInfo(file, tuple(part.get_shape()), DTYPES.get(part.get_dtype(), part.get_dtype()))
                for name, part in slices.items()
            }
            return infos, content.metadata() or {}
    except (SafetensorError, OSError) as error:
        with file.open("rb") as content:
            pointer = content.read(20).startswith(b"version https://git-")
        reason = (
            "is a git-lfs pointer: run `git lfs pull`" if pointer else "is cut off or no safetensors: download it again"
        )
        raise ValueError(f"{file} {reason} ({error})") from error


class SafetensorsFolder:
    """Tensors of ``model.safetensors`` or of the shards that ``model.safetensors.index.json`` names.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: no weights, no index, or a shard that the index names is missing.
        ValueError: a file is cut off, or index and shards disagree.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        listed = self._index()
        files = sorted(set(listed.values())) if listed else [self.path / "model.safetensors"]
        self.infos: dict[str, TensorInfo] = {}
        for file in files:
            self.infos |= read_header(file)[0]
        if listed is not None:
            found = {name: info.file for name, info in self.infos.items()}
            wrong = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
            if wrong:
                name = wrong[0]
                raise ValueError(
                    f"{self.path}: index and shards disagree about {len(wrong)} tensors, first {name}: the index says "
                    f"{_name(listed.get(name))}, it is in {_name(found.get(name))}; download the folder again"
                )

    @property
    def origin(self) -> str:
        """Tells this state of the files from any other: names, sizes and times of change."""
        files = sorted({info.file for info in self.infos.values()})
        stats = [(file.name, file.stat()) for file in files]
        return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])

    def read(self, name: str) -> Tensor:
        """Read one tensor; the file is mapped for as long as the tensor lives."""
        with safe_open(self.infos[name].file, "pt") as content:
            return content.get_tensor(name)

    def _index(self) -> dict[str, Path] | None:
        """Tensor names to files, or None where one file holds all."""
        index = self.path / "model.safetensors.index.json"
        if not index.is_file():
            if (self.path / "model.safetensors").is_file():
                return None
            raise FileNotFoundError(f"{self.path} {self._what_else()}")
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ValueError(f"{index} has no weight_map")
        missing = sorted({file for file in weight_map.values() if not (self.path / file).is_file()})
        if missing:
            raise FileNotFoundError(f"{self.path} lacks {', '.join(missing)}, which {index.name} names: download it")
        return {name: self.path / file for name, file in weight_map.items()}

    def _what_else(self) -> str:
        if list(self.path.glob("*.safetensors")):
            return "has shards but no model.safetensors.index.json, which names them: download it"
        if list(self.path.glob("*.bin")) or list(self.path.glob("*.pth")):
            return "has pickled weights only (.bin, .pth); the safetensors files are expected"
        return "has no model.safetensors and no model.safetensors.index.json"


def _name(file: Path | None) -> str:
    return file.name if file else "no shard"
