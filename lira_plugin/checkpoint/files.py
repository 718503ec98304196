"""Checkpoint files: read one safely, write one, and check that it fits a model before it is loaded.

Whoever reads or writes weights does so through this file. Its errors name the file, and the way to the right one.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lira_plugin.checkpoint.deepspeed import read_zero_checkpoint
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.compat.safe_load import MMENGINE_DATA, also_safe, refuse_programs
from lira_plugin.written_aside import written_aside

TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def is_meta_init() -> bool:
    """Whether models are built without weights at this moment: a caller then need not read a weight file.

    True on the meta device and within ``accelerate.init_empty_weights``, where new parameters have shapes and no data.
    """
    probe = nn.Module()
    probe.register_parameter("weight", nn.Parameter(torch.empty(1)))  # unlike a layer's it draws no random numbers
    return probe.weight.is_meta


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a ``.safetensors`` or torch file, or of DeepSpeed's folder, without running code from it.

    Tensors of a torch file are mapped into memory, where its format allows that: each is read when it is used.

    Raises:
        ValueError: the file is not a checkpoint, is cut off, or holds more than plain data.
    """
    path = Path(path)
    with _refusal(path), also_safe(MMENGINE_DATA):
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.is_dir():
            return read_zero_checkpoint(path)
        refuse_programs(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    for key in ("state_dict", "module"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} has no state dict: expected names with tensors, or such under 'state_dict' or 'module'"
        )
    return dict(state)


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Name the file in the errors of reading it.

    Raises:
        ValueError: the file is cut off or none of weights, or holds more than plain data.
    """
    try:
        yield
    except UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain containers, and is not loaded for safety's sake: {error}"
        ) from error
    except FileNotFoundError:  # says itself what is missing
        raise
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is no readable checkpoint (is the download complete? "
            f"docs/troubleshooting.md#checkpoint-cannot-be-read): {error}"
        ) from error


def weights_path(path: str | Path) -> Path:
    """A path that :func:`write_state_dict` can write to; asked before the work begins.

    Raises:
        ValueError: the suffix is none of weights.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", *TORCH_SUFFIXES):
        raise ValueError(
            f"{path} is to hold weights and must end in .safetensors or one of {', '.join(TORCH_SUFFIXES)}"
        )
    return path


def write_state_dict(state: Mapping[str, Tensor], path: str | Path) -> Path:
    """Write weights as what the suffix says: safetensors, or a torch file, which ``xtuner test`` and ``load_from`` read too.

    The file gets its name when it is complete. Weights that share memory are stored each on its own.

    Raises:
        ValueError: another suffix.
    """
    path = weights_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    taken: set[int] = set()
    state = {name: _on_its_own(tensor.detach().cpu(), taken) for name, tensor in state.items()}
    with written_aside(path) as unfinished:
        if path.suffix == ".safetensors":
            save_file(state, unfinished, metadata={"format": "pt"})
        else:
            torch.save(state, unfinished)
    return path


def _on_its_own(tensor: Tensor, taken: set[int]) -> Tensor:
    """The tensor, or a copy where its memory holds more than it or is another's."""
    memory = tensor.untyped_storage()
    shared = memory.data_ptr() in taken or memory.nbytes() != tensor.nbytes
    taken.add(memory.data_ptr())
    return tensor.clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()


def read_tensor(path: str | Path, obtain: str = "") -> Tensor:
    """Read a torch file that holds one tensor, without running code from it.

    Args:
        path: the file.
        obtain: where it comes from, for the message when it is absent.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds something else, more than plain data, or is cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(missing(path, obtain))
    with _refusal(path):
        refuse_programs(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Tensor):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected one tensor")
    return content


def missing(path: str | Path, obtain: str = "") -> str:
    """The message about an absent file, with the way to it."""
    return f"there is no {path}" + (f"; {obtain}" if obtain else "")


def load_into(
    module: nn.Module,
    path: str | Path,
    prefix: str = "",
    made_by: str | None = None,
    may_lack: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> set[str]:
    """Load weights into a module; a name or shape that does not fit is an error.

    Args:
        module: to load into.
        path: file or MMEngine work dir.
        prefix: put in front of the file's names, such as ``pixel_encoder.`` where the file holds that part alone.
        made_by: command that makes the file, for the message when it is absent.
        may_lack: prefixes of the module's names that the file need not have (new or frozen parts).
        ignore: prefixes of the file's names that are left out.

    Returns:
        The names inside of the module that were loaded.

    Raises:
        FileNotFoundError: no such file.
        ValueError: names or shapes do not fit.
    """
    path = find_checkpoint(path, made_by)
    state = {
        prefix + name: value for name, value in read_state_dict(path).items() if not name.startswith(tuple(ignore))
    }
    own = module.state_dict()
    wanted = {name for name in own if name.startswith(prefix)}
    way_out = f"make the right one with:\n    {made_by}" if made_by else "another checkpoint is needed"
    check_state(state, {name: own[name] for name in wanted}, str(path), may_lack, way_out)
    module.load_state_dict(state, strict=False)
    return set(state)


def check_state(
    state: Mapping[str, Any],
    own: Mapping[str, Tensor],
    where: str,
    may_lack: Sequence[str] = (),
    way_out: str = "take one that this recipe trained",
) -> None:
    """Compare the names and shapes of a checkpoint with those of a module.

    Args:
        state: of the checkpoint.
        own: of the module.
        where: the checkpoint, for the message.
        may_lack: prefixes of names that the checkpoint need not have.
        way_out: what to do about it; ends the message.

    Raises:
        ValueError: an unknown, missing or misshapen name; the first four of each are listed.
    """
    problems = {
        "unknown": sorted(set(state) - set(own)),
        "missing": sorted(name for name in set(own) - set(state) if not name.startswith(tuple(may_lack))),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in sorted(set(state) & set(own))
            if state[name].shape != own[name].shape
        ],
    }
    found = [
        f"{len(names)} {kind}: {', '.join(names[:4])}" + (", ..." if len(names) > 4 else "")
        for kind, names in problems.items()
        if names
    ]
    if found:
        raise ValueError(
            f"the checkpoint {where} does not fit the model (docs/troubleshooting.md#checkpoint-does-not-fit); "
            + "; ".join([*found, way_out])
        )


def check_before_load(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """A ``load_state_dict`` pre-hook that refuses a checkpoint of another model, and remembers that there was one.

    MMEngine's ``load_from`` and ``xtuner test`` load with ``strict=False``: they would warn, and leave weights random.
    Only the outermost module checks, since it knows all names.

    Raises:
        ValueError: an unknown, missing or misshapen name.
    """
    if not prefix:
        check_state(state_dict, module.state_dict(), "to be loaded")
        remember_loaded(module)


def remember_loaded(module: nn.Module) -> None:
    """Note that the whole module has got weights from outside; :func:`was_loaded` tells."""
    module._loaded_from_outside = True


def was_loaded(module: nn.Module) -> bool:
    """Whether a state dict was loaded into the whole module after it was built."""
    return getattr(module, "_loaded_from_outside", False)
