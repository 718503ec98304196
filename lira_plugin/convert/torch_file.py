"""A checkpoint that is read as a whole as a source of tensors."""

import json
from pathlib import Path

from torch import Tensor

from lira_plugin.checkpoint.files import read_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.convert.safetensors_folder import TensorInfo


class TorchFile:
    """Tensors of a checkpoint, which is read as a whole and without running code from it.

    Args:
        path: whatever :func:`~lira_plugin.checkpoint.files.find_checkpoint` takes.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds code, is cut off, or is no checkpoint.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = find_checkpoint(path)
        self._state = read_state_dict(self.path)
        self.infos = {
            name: TensorInfo(
                self.path, tuple(tensor.shape), tensor.dtype if tensor.is_floating_point() else str(tensor.dtype)
            )
            for name, tensor in self._state.items()
        }

    @property
    def origin(self) -> str:
        """Tells this state of the file from any other."""
        stat = self.path.stat()
        return json.dumps([self.path.name, stat.st_size, stat.st_mtime_ns])

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self._state[name]

    def shape(self, name: str, expected: str = "a released LIRA fine-tune") -> tuple[int, ...]:
        """Shape of a matrix that tells the sizes of others.

        Raises:
            ValueError: there is no such matrix; the message tells which kind of file is ``expected``.
        """
        info = self.infos.get(name)
        if info is None or len(info.shape) != 2:
            raise ValueError(f"{self.path} has no matrix {name}: {expected} is expected")
        return info.shape
