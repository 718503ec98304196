"""A DeepSpeed checkpoint as one file."""

from pathlib import Path

from lira_plugin.checkpoint.deepspeed import is_zero_checkpoint
from lira_plugin.checkpoint.files import read_state_dict, weights_path, write_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint


def consolidate_zero(path: str | Path, out: str | Path) -> Path:
    """Write the trained fp32 weights of a ZeRO training into one file.

    Args:
        path: folder of the checkpoint (``iter_100.pth``), or the work dir for its last one.
        out: file to write, ``.pth`` or ``.safetensors``; ``xtuner test`` and ``load_from`` read the former only.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the checkpoint is a file already, is incomplete, or holds more than plain data; or ``out`` has another suffix.
    """
    folder, out = find_checkpoint(path), weights_path(out)
    if not is_zero_checkpoint(folder):
        raise ValueError(f"{folder} is a file, and needs no consolidation: DeepSpeed's checkpoints are folders")
    return write_state_dict(read_state_dict(folder), out)
