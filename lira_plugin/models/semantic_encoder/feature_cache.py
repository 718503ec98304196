"""What the frozen semantic encoder gives for the tiles of images, kept on disk: repeated images are encoded once.

Shape letters: T tiles, t tile side, R region views, U tokens a tile, C channels, H width of the LLM.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.precision import as_dtype


class FeatureCache:
    """The frozen steps of a semantic encoder with a memory on disk.

    Where the projection is frozen too, tokens are kept, else the features in front of it, and the projection is run and trained
    as ever. An entry is a file named after the bytes of its tile, in a folder named after the frozen weights and the types of
    number involved; it is never wrong, only unused. Files get their names when they are complete and carry a checksum, so any
    number of processes may share a folder.

    Views of regions are not kept: they are cut anew in each epoch where the cut is jittered.

    Args:
        encoder: all of it is frozen, or all but its projection.
        root: folder; it is made where it is not there. A fast local disk.
        dtype: what is kept, such as ``"bfloat16"``. What is used is what is kept, in the first epoch too. None keeps features as
            they are computed, without loss.
        max_gb: how large the folder may grow, in GB of 1e9 bytes; None sets no limit. When it is full, further tiles are
            encoded as without a cache: in shuffled epochs, entries that made room would be those needed next.

    Raises:
        ValueError: a weight in front of the projection is trained, or a setting is no floating-point type or no size.
    """

    def __init__(
        self, encoder: SemanticEncoder, root: str | Path, dtype: str | None = None, max_gb: float | None = None
    ) -> None:
        projection = f"{encoder.PROJECTION}."
        trained = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
        moving = [name for name in trained if not name.startswith(projection)]
        if moving:
            raise ValueError(
                f"feature_cache keeps what the semantic encoder computes, but {len(moving)} of its weights are trained "
                f"({moving[0]}, ...): add 'semantic_encoder' to the model's frozen parts, or leave feature_cache out"
            )
        if max_gb is not None and max_gb <= 0:
            raise ValueError(f"max_gb must be positive, or None for no limit, got {max_gb}")
        self.encoder, self.root, self.max_gb = encoder, Path(root), max_gb
        self.dtype = as_dtype(dtype)
        self.projects = bool(trained)
        self._skipped = projection if self.projects else None
        self._weights: tuple | None = None
        self._weights_digest = ""
        self._bytes_left: float | None = None

    def __call__(self, tiles: Tensor, views: Tensor) -> Tensor:
        """Encode (T, 3, t, t) tiles, each only if it was never met, and (R, 3, t, t) views; all uint8.

        Returns:
            (T + R, U, H).
        """
        folder = self._folder(tiles.device)
        paths = [folder / key[:2] / f"{key}.safetensors" for key in map(_digest, tiles.cpu())]
        features = [self._read_features(path, tiles.device) for path in paths]
        missing = [index for index, feature in enumerate(features) if feature is None]
        fresh: list[Tensor] = []
        if missing or len(views):
            new_tiles = tiles if len(missing) == len(tiles) else tiles[missing]
            encode = self.encoder.features if self.projects else self.encoder
            fresh = list(encode(torch.cat([new_tiles, views])))
        for index, feature in zip(missing, fresh):
            kept = feature.to(self.dtype or feature.dtype)
            self._write(paths[index], kept, feature.dtype)
            features[index] = kept.to(feature.dtype)
        together = torch.stack(features + fresh[len(missing) :])
        return self.encoder.project(together) if self.projects else together

    def _folder(self, device: torch.device) -> Path:
        """Named after all that the features depend on but the tile."""
        weights = dict(self._frozen_tensors())
        if any(hasattr(tensor, "ds_id") for tensor in weights.values()):
            raise RuntimeError(
                "feature_cache does not run under ZeRO-3, where all processes must encode at the same time: use ZeRO-2, or leave "
                "feature_cache out"
            )
        state = tuple((tensor.data_ptr(), tensor._version) for tensor in weights.values())
        if state != self._weights:  # the first time, and after other weights were loaded
            self._weights_digest = _digest(*weights.values(), about=[*weights, self._settings()])
            self._weights = state
        computed = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        folder = self.root / _digest(about=[self._weights_digest, computed, self.dtype])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _frozen_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for named in (self.encoder.named_parameters(), self.encoder.named_buffers()):
            yield from ((name, tensor) for name, tensor in named if not self._is_projection(name))

    def _settings(self) -> list[tuple[str, str, str]]:
        """What modules know besides weights: heads, strides, epsilons."""
        return [
            (name, setting, repr(value))
            for name, module in self.encoder.named_modules()
            for setting, value in sorted(vars(module).items())
            if setting != "training" and isinstance(value, int | float | str | tuple) and not self._is_projection(name)
        ]

    def _is_projection(self, name: str) -> bool:
        return self._skipped is not None and f"{name}.".startswith(self._skipped)

    @staticmethod
    def _read_features(path: Path, device: torch.device) -> Tensor | None:
        try:
            with safe_open(path, "pt") as file:
                kept, about = file.get_tensor("features"), file.metadata() or {}
            if about.get("crc32") != str(crc32(_bytes(kept))):
                raise ValueError("the checksum differs")
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            _warn(f"{path} is broken and is computed again: {error}")
            return None
        return kept.to(device, getattr(torch, about["dtype"]))

    def _write(self, path: Path, kept: Tensor, computed: torch.dtype) -> None:
        if self._bytes_left is None:
            self._bytes_left = self._share_of_space()
        if self._bytes_left <= 0:
            return
        kept = kept.detach().cpu().contiguous()
        about = {"crc32": str(crc32(_bytes(kept))), "dtype": str(computed).removeprefix("torch.")}
        content = save({"features": kept}, metadata=about)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            self._stop(f"it has reached max_gb={self.max_gb}")
            return
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            part.write_bytes(content)
            os.replace(part, path)
        except OSError as error:  # a full disk is no reason to end a training
            part.unlink(missing_ok=True)
            self._stop(str(error))

    def _share_of_space(self) -> float:
        """Bytes that this process may write: its part of what the folder may still grow."""
        if self.max_gb is None:
            return float("inf")
        used = sum(path.stat().st_size for path in self.root.rglob("*.safetensors"))
        return (self.max_gb * 1e9 - used) / get_world_size()

    def _stop(self, reason: str) -> None:
        self._bytes_left = 0
        _warn(f"no more features are kept in {self.root}: {reason}. Folders of weights that are gone can be deleted")


def _digest(*tensors: Tensor, about: list | None = None) -> str:
    digest = hashlib.blake2b(repr(about).encode(), digest_size=16)
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor.detach().cpu()))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy())


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
