"""What a recipe's extra losses are given: modules that learn from ``<seg>`` states beside the mask losses."""

from dataclasses import dataclass

from torch import Tensor

from lira_plugin.models.mask_decoder import MaskDecoder
from lira_plugin.models.pixel_encoder.pixel_encoder import PixelFeatures


@dataclass(frozen=True)
class SegLossInputs:
    """The supervised ``<seg>`` states of a batch, and what can be compared with them.

    ``LIRA(extra_losses=[dict(type=..., weight=...)])`` builds a module from each entry. It calls every module with these inputs
    once a batch, and adds the losses of the returned dictionary to its own. The names start with ``loss``, and each loss is
    weighted already. Every process calls every module, also with K = 0: so a module may call
    :func:`~lira_plugin.distributed.mean_count`, and its losses have to reach ``states`` even then, as an exact zero.
    """

    states: Tensor
    """(K, H) hidden states of the LLM, of its type."""
    state_image: Tensor
    """(K,) image of each state, 0..N-1."""
    features: PixelFeatures
    """Of the N images."""
    masks: Tensor
    """(K, S, S) bool, the true mask of each state; it may be empty."""
    mask_decoder: MaskDecoder
    """Its :meth:`~lira_plugin.models.mask_decoder.MaskDecoder.project` makes queries of states."""
