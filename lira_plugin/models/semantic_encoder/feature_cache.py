"""What the frozen semantic encoder gives for the tiles of images, kept on disk: repeated images are encoded once.

Shape letters: T tiles, t tile side, R region views, U tokens a tile, C channels, H width of the LLM.
"""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.precision import as_dtype

_FORMAT = 2
"""Of entries; those of another one lie in other folders."""
_UNREADABLE = (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError, MemoryError)
"""What reading a file raises that others have written."""
_MOST_BYTES = 2**28
"""Of an entry: no encoder gives as much for a tile."""


class FeatureCache:
    """The frozen steps of a semantic encoder with a memory on disk.

    Where the projection is frozen too, tokens are kept, else the features in front of it, and the projection is run and trained
    as ever. An entry is a file named after the bytes of its tile, in a folder named after the frozen weights and the types of
    number involved; it is never wrong, only unused. Files get their names when they are complete and carry a checksum, so any
    number of processes may share a folder. What others delete, damage or put in its place is encoded anew, with one warning.

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
        self._shape: torch.Size | None = None  # of a tile's features, once some were computed
        self._has_warned = False

    def __call__(self, tiles: Tensor, views: Tensor) -> Tensor:
        """Encode (T, 3, t, t) tiles, each only if it was never met, and (R, 3, t, t) views; all uint8.

        An entry that cannot be read is encoded anew, with one warning; what happens to the folder never ends a training.

        Returns:
            (T + R, U, H).
        """
        paths = self._paths(tiles)
        features = [self._read_features(path, tiles.device) for path in paths]
        self._discard_odd(features)
        of_views = self._encode_missing(features, paths, tiles, views)
        if self._discard_odd(features):  # what was read first told the wrong shape
            self._encode_missing(features, paths, tiles, views[:0])
        together = torch.stack(features + of_views)
        return self.encoder.project(together) if self.projects else together

    def _encode_missing(
        self, features: list[Tensor | None], paths: list[Path | None], tiles: Tensor, views: Tensor
    ) -> list[Tensor]:
        """Fill in the features that are None, and keep them; return those of the views."""
        missing = [index for index, feature in enumerate(features) if feature is None]
        if not missing and not len(views):
            return []
        new_tiles = tiles if len(missing) == len(tiles) else tiles[missing]
        encode = self.encoder.features if self.projects else self.encoder
        fresh = list(encode(torch.cat([new_tiles, views])))
        self._shape = fresh[0].shape
        for index, feature in zip(missing, fresh):
            kept = feature.to(self.dtype or feature.dtype)
            self._write(paths[index], kept, feature.dtype)
            features[index] = kept.to(feature.dtype)
        return fresh[len(missing) :]

    def _discard_odd(self, features: list[Tensor | None]) -> bool:
        """Put None for features of another shape than the encoder gives, or than most have; return whether there were some."""
        shapes = [feature.shape for feature in features if feature is not None]
        right = self._shape or max(shapes, key=shapes.count, default=None)
        odd = [index for index, feature in enumerate(features) if feature is not None and feature.shape != right]
        for index in odd:
            self._warn_of_entries(
                f"an entry in {self.root} has shape {tuple(features[index].shape)}, not {tuple(right)}"
            )
            features[index] = None
        return bool(odd)

    def _paths(self, tiles: Tensor) -> list[Path | None]:
        """The entry of each tile; None where there is no folder that could hold it."""
        try:
            folder = self._folder(tiles.device)
        except OSError as error:
            if self._bytes_left != 0:
                self._stop(str(error))
            return [None] * len(tiles)
        return [folder / key[:2] / f"{key}.safetensors" for key in map(_digest, tiles.cpu())]

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
        folder = self.root / _digest(about=[_FORMAT, self._weights_digest, computed, self.dtype])
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

    def _read_features(self, path: Path | None, device: torch.device) -> Tensor | None:
        if path is None:
            return None
        try:
            kept, computed = _parse_entry(_read_file(path))
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            self._warn_of_entries(f"{path} is broken ({error})")
            return None
        return kept.to(device, computed)

    def _write(self, path: Path | None, kept: Tensor, computed: torch.dtype) -> None:
        if self._bytes_left is None:
            self._bytes_left = self._share_of_space()
        if path is None or self._bytes_left <= 0:
            return
        content = _entry(kept.detach().cpu().contiguous(), computed)
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
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
                self._warn_of_entries(f"something is in the way of {path} ({error})")
            elif not isinstance(error, FileNotFoundError):  # of a folder that was deleted just now, which is made again
                self._stop(str(error))

    def _share_of_space(self) -> float:
        """Bytes that this process may write: its part of what the folder may still grow."""
        if self.max_gb is None:
            return float("inf")
        used = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(OSError):  # deleted meanwhile
                    used += os.lstat(os.path.join(folder, name)).st_size
        return (self.max_gb * 1e9 - used) / get_world_size()

    def _warn_of_entries(self, message: str) -> None:
        """Warn of an entry that cannot be used: once, for there may be as many as there are tiles."""
        if not self._has_warned:
            _warn(f"{message}: what cannot be read is computed again, which is not said again")
            self._has_warned = True

    def _stop(self, reason: str) -> None:
        self._bytes_left = 0
        _warn(f"no more features are kept in {self.root}: {reason}. Folders of weights that are gone can be deleted")


def _entry(kept: Tensor, computed: torch.dtype) -> bytes:
    """Content of a file: features (U, ...) as they are kept, with the type that they were computed in."""
    dtype = str(computed).removeprefix("torch.")
    return save({"features": kept}, metadata={"crc32": _checksum(kept, dtype), "dtype": dtype})


def _parse_entry(content: bytes) -> tuple[Tensor, torch.dtype]:
    """The inverse of :func:`_entry`.

    Raises:
        ValueError: the content is no entry, or was changed; safetensors and PyTorch raise other errors too (:data:`_UNREADABLE`).
    """
    tensors = load(content)  # which checks the header that is read again for its metadata
    about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    if "features" not in tensors or not {"crc32", "dtype"} <= about.keys():
        raise ValueError("it lacks features, checksum or type")
    if about["crc32"] != _checksum(tensors["features"], about["dtype"]):
        raise ValueError("the checksum differs")
    return tensors["features"], as_dtype(about["dtype"])


def _read_file(path: Path) -> bytes:
    """Read a regular file as it is now: a map of a file that others cut off would end the process.

    Raises:
        OSError: it is not there, is no regular file (of a pipe the opening alone would wait for ever), or is far too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise OSError(f"it is no regular file of at most {_MOST_BYTES} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _checksum(kept: Tensor, dtype: str) -> str:
    return str(crc32(_bytes(kept), crc32(f"{dtype} {kept.dtype} {tuple(kept.shape)}".encode())))


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
