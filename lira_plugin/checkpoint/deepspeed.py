"""DeepSpeed's checkpoints: folders in which the processes of a ZeRO training leave their pieces of the weights."""

import io
from contextlib import redirect_stdout
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from lira_plugin.compat.safe_load import also_safe, deepspeed_data, plain_data_only, refuse_programs


def is_zero_checkpoint(path: str | Path) -> bool:
    """Whether ``path`` is the folder of one checkpoint (``iter_100.pth``), as DeepSpeed writes it."""
    return Path(path).is_dir() and any(Path(path).glob("*_states.pt"))


def read_zero_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Put the trained weights of a ZeRO-1, -2 or -3 checkpoint together: the fp32 copy that the optimizer updates.

    Frozen parameters are left out, as :class:`~lira_plugin.models.LIRA` leaves them out of any checkpoint; buffers become fp32.
    Code in the files is not run: to the types that :func:`torch.load` takes for plain data come DeepSpeed's own.

    Args:
        path: the folder; see :func:`is_zero_checkpoint`.

    Raises:
        FileNotFoundError: files of a kind are missing.
        ValueError: the file of a process is missing or left over from another training.
        pickle.UnpicklingError: a file holds more than plain data.
    """
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    path = Path(path)
    for piece in path.glob("*.pt"):
        refuse_programs(piece)
    with also_safe(deepspeed_data()), plain_data_only(), redirect_stdout(io.StringIO()):
        pieces = get_fp32_state_dict_from_zero_checkpoint(
            str(path.parent), path.name, exclude_frozen_parameters=True, lazy_mode=True
        )
    # Copies: ZeRO-2 gives views of all weights in one, and shared weights under each of their names.
    return {
        name: piece.contiguous().clone()
        for name, piece in tqdm(pieces.items(), desc=f"weights of {path.name}", leave=False, disable=None)
    }
