"""A frozen linear layer of 4 bits by bitsandbytes, which is imported where it is used alone."""

from typing import Any

from bitsandbytes.nn import Linear4bit, Params4bit
from torch import Tensor, nn


class NF4Linear(Linear4bit):
    """What a linear layer computes with weights of 4 bits; they never change, and a state dict names the weight alone.

    Args:
        linear: the layer; on the meta device it keeps its shape.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, quant_type="nf4", device="meta")
        self.weight = Params4bit(linear.weight.detach(), requires_grad=False, quant_type="nf4")
        self.bias = linear.bias
        if not linear.weight.is_meta:
            self.to(linear.weight.device)  # quantizes

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> Any:
        nn.Linear._save_to_state_dict(self, destination, prefix, keep_vars)  # without the scales
