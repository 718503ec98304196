"""A compiled model compiles before its first client waits."""

import numpy as np
import torch

from lira_plugin.inference import LIRAInferencer, Prompt
from lira_plugin.models.generation import CompiledPass, InterleavedGenerator

_COUNTS = (1, 2)
"""Of images, tiles, masks and answers: torch makes one graph for one, and one for more."""


@torch.inference_mode()
def warm_up(lira: LIRAInferencer, generator: InterleavedGenerator) -> None:
    """Run each compiled part for one and for more, on black images.

    Args:
        lira: the compiled model.
        generator: of its answers.
    """
    grounder, image = generator.grounder, np.zeros((32, 32, 3), np.uint8)
    for count in _COUNTS:
        prompts = [Prompt(f"test {index}", image, "?") for index in range(count)]
        requests = list(lira.requests([lira.sample(prompt) for prompt in prompts]))
        grounder.encode_views([image] * count, [np.ones(image.shape[:2], bool)] * count)
        for num_masks in _COUNTS:
            states = requests[0].embeddings.new_zeros(count * num_masks, lira.model.llm.hidden_size)
            grounder.decode_masks(states, [request.features for request in requests] * num_masks)
    _warm_up_pass(grounder.llm.cached_pass(), requests[0].embeddings[:2], generator.batch_size)


def _warm_up_pass(run: CompiledPass, embeddings: torch.Tensor, batch_size: int) -> None:
    """Run two positions, and then one, of the first slots."""
    cache, count = run.new_cache(batch_size), min(2, batch_size)
    for slots, new in ((range(count), 2), (range(1), 1), (range(count), 1)):
        for slot in slots:
            cache.lengths.setdefault(slot, 0)
        cache.begin_pass(slots, new, embeddings.device)
        run(embeddings[:new].expand(len(slots), -1, -1), cache)
        for slot in slots:
            cache.lengths[slot] += new
