"""The mask decoder as an ONNX graph: from ``<seg>`` states and what is known of images to masks.

Shape letters: N images (dynamic), K ``<seg>`` states an image (fixed), H width of the LLM, D query channels, h x w mask feature
map.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from lira_plugin.models import LIRA
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory
from lira_plugin.written_aside import written_aside

OPSET = 17


class MaskDecoderGraph(nn.Module):
    """What is exported: states of each image, and its features, to the logits of its masks.

    Each state is decoded by itself, so an image with fewer states than K is filled up with any values, whose masks are left.

    Args:
        model: with its mask decoder and segmenter.
        memory: of any image: its sizes and position encodings are those of all images, and become a part of the graph.
    """

    def __init__(self, model: LIRA, memory: DecoderMemory) -> None:
        super().__init__()
        self.project = model.mask_decoder.state_proj
        self.decoder = model.mask_decoder.decoder or model.pixel_encoder.segmenter.decoder
        self.positions, self.sizes = memory.positions, memory.sizes

    def forward(self, states: Tensor, mask_features: Tensor, *memories: Tensor) -> Tensor:
        """Decode.

        Args:
            states: (N, K, H).
            mask_features: (N, D, h, w).
            memories: one (N, h_i * w_i, D) a level.

        Returns:
            (N, K, h, w) logits of the last decoder output; a mask is where they are positive.
        """
        memory = DecoderMemory(mask_features, memories, self.positions, self.sizes)
        features, positions = self.project(states).chunk(2, -1)
        return self.decoder(memory, features, positions, independent=True, last_only=True).mask_logits[-1]


@torch.inference_mode()
def export_mask_decoder(model: LIRA, out: str | Path, queries: int = 8, image_size: int | None = None) -> list[str]:
    """Write the graph, in fp32, and give the names of its inputs.

    Args:
        model: with its weights, on the CPU.
        out: file to write, such as ``mask_decoder.onnx``.
        queries: K.
        image_size: of letterboxed images in pixels; None is the model's.

    Raises:
        ImportError: the package onnx is missing.
        ValueError: K is not positive, the weights are not in fp32, or nothing says the size of images.
    """
    try:
        import onnx  # noqa: F401  (what torch writes the file with)
    except ImportError as error:
        raise ImportError(
            "writing ONNX needs the package onnx: uv sync --extra onnx, or pip install -e '.[onnx]'"
        ) from error
    if queries < 1:
        raise ValueError(f"queries must be positive, got {queries}")
    if (kind := next(model.parameters()).dtype) != torch.float32:
        raise ValueError(f"the graph is in fp32, and the weights are in {kind}: load the model with dtype='float32'")
    if (side := image_size or model.pixel_encoder.image_size) is None:
        raise ValueError("the model leaves the size of images open: give image_size")
    memory = model.pixel_encoder.encode(torch.zeros(2, 3, side, side, dtype=torch.uint8)).decoder_memory
    graph = MaskDecoderGraph(model, memory).eval()
    memories = memory.memories[: len(graph.decoder.transformer_decoder.layers)]  # a layer looks at one
    states = torch.randn(2, queries, model.llm.hidden_size)
    levels = [f"memory_{index}" for index in range(len(memories))]
    names = ["states", "mask_features", *levels]
    with written_aside(Path(out)) as unfinished:
        torch.onnx.export(
            graph,
            (states, memory.mask_features, *memories),
            str(unfinished),
            input_names=names,
            output_names=["mask_logits"],
            dynamic_axes={name: {0: "images"} for name in (*names, "mask_logits")},
            opset_version=OPSET,
            dynamo=False,
        )
    return names
