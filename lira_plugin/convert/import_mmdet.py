"""mmdet's Mask2Former checkpoints to the names of our :class:`~lira_plugin.models.PixelEncoder`: one prefix is another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights

from lira_plugin.checkpoint.files import check_state, read_state_dict, write_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.models import PixelEncoder
from lira_plugin.registry import MODELS

HEAD, SEGMENTER = "panoptic_head.", "segmenter."


def convert_mmdet(pixel_encoder: Mapping[str, Any], weights: str | Path, out: str | Path) -> Path:
    """Convert into ``out/model.safetensors``, which a recipe's ``init_from`` reads.

    Args:
        pixel_encoder: the recipe's config of its pixel encoder, which says what is expected.
        weights: a checkpoint of mmdet's ``Mask2Former``, for panoptic or instance segmentation.
        out: folder to write to.

    Returns:
        The file.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it holds code or is cut off, is of no Mask2Former, or a tensor is missing, unknown, or of another shape or
            type.
    """
    path = find_checkpoint(weights)
    state = {
        SEGMENTER + name.removeprefix(HEAD) if name.startswith(HEAD) else name: tensor
        for name, tensor in read_state_dict(path).items()
    }
    if not any(name.startswith(SEGMENTER) for name in state):
        raise ValueError(f"{path} has no tensors {HEAD}*: it is no checkpoint of mmdet's Mask2Former")
    with init_empty_weights(include_buffers=False):
        encoder: PixelEncoder = MODELS.build({**pixel_encoder})
    own = encoder.state_dict()
    way_out = (
        "choose the backbone that it is of; a file of COCO instances has 80 classes of things and none of stuff, one of COCO "
        "panoptic 80 and 53"
    )
    check_state(state, own, str(path), way_out=way_out)
    if strange := [
        name for name, tensor in state.items() if tensor.is_floating_point() != own[name].is_floating_point()
    ]:
        raise ValueError(
            f"{path} has {state[strange[0]].dtype} in {strange[0]}, where {own[strange[0]].dtype} is expected"
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return write_state_dict(state, folder / "model.safetensors")
