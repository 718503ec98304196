"""The parts of a LIRA compiled with ``torch.compile``, to answer faster on a GPU."""

from collections.abc import Callable
from types import MethodType

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from lira_plugin.models.generation.compiled_pass import compiled, slot_bucket
from lira_plugin.models.mask_decoder import decode_alone
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory, Mask2FormerDecoder
from lira_plugin.settings import WrongSetting, refuse_type


def compile_parts(model: BaseModel, backend: str = "inductor") -> None:
    """Compile semantic encoder, pixel encoder, mask decoder, and the LLM's pass of one token, as whole graphs.

    Nothing is compiled before it is run, and once more for other counts of images, tiles or masks than one. Weights must not
    change any more. State-dict keys stay as they are.

    Args:
        model: the LIRA, with its weights, to answer and not to be trained.
        backend: of ``torch.compile``, such as ``inductor`` or ``aot_eager``.

    Raises:
        WrongSetting: there is no such backend, or weights are of 4 bits.
    """
    checked_backend(backend)
    if any(type(module).__name__ == "NF4Linear" for module in model.llm.modules()):
        raise WrongSetting(
            "compile=True cannot compile weights of 4 bits (nf4): leave it out, or take quantize='int8' or none"
        )
    without_deprecated_names(model)
    model.semantic_encoder.forward = compiled(model.semantic_encoder.forward, backend)
    model.pixel_encoder.encode = compiled(model.pixel_encoder.encode, backend)
    model.mask_decoder.run_decoder = CompiledDecoder(backend)
    model.llm.compile_pass(backend)


def checked_backend(compile: bool | str) -> str | None:
    """The backend that a setting means: True is ``inductor``, False none.

    Raises:
        WrongSetting: it names a backend that torch does not have, or is of another type.
    """
    refuse_type("compile", compile, bool | str)
    if isinstance(compile, bool):
        return "inductor" if compile else None
    if compile not in (known := torch._dynamo.list_backends(None)):
        raise WrongSetting(
            f"compile={compile!r} is no backend of torch.compile: give True, or one of {', '.join(known)}"
        )
    return compile


class CompiledDecoder:
    """Decodes queries whose count an image is filled up to 1, 2, 4, 8, ..."""

    def __init__(self, backend: str | Callable) -> None:
        self.run = compiled(decode_alone, backend)

    def __call__(
        self, decoder: Mask2FormerDecoder, memory: DecoderMemory, features: Tensor, positions: Tensor
    ) -> list[Tensor]:
        """As :func:`~lira_plugin.models.mask_decoder.decode_alone`, for at least as many queries."""
        more = slot_bucket(features.shape[1]) - features.shape[1]
        features, positions = (F.pad(queries, (0, 0, 0, more)) for queries in (features, positions))
        for tensor in (memory.mask_features, *memory.memories, features, positions):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        for queries in (features, positions):
            torch._dynamo.maybe_mark_dynamic(queries, 1)
        return self.run(decoder, memory, features, positions)


def without_deprecated_names(model: nn.Module) -> None:
    """Let modules of mmcv take their arguments as they are: the search for deprecated names of them cannot be compiled."""
    for module in model.modules():
        if type(module).__module__.startswith("mmcv.") and hasattr(type(module).forward, "__wrapped__"):
            module.forward = MethodType(type(module).forward.__wrapped__, module)
