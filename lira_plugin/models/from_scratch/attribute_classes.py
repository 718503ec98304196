"""Classes that are combinations of attributes."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from lira_plugin.registry import MODELS


@MODELS.register_module()
class AttributeClassifier(nn.Module):
    """Logits of classes that are one value of each of several attributes, such as a shape, a colour and a size.

    A class has the sum of the logits of its values, so what is learnt of a shape holds in every colour; a learnt logit
    of no object comes last. The probabilities among the classes are the products of those among each attribute's values.

    Args:
        channels: D.
        attributes: how many values each attribute has. Classes are numbered as :func:`itertools.product` orders them:
            the value of the last attribute changes from one class to the next.

    Raises:
        ValueError: there is no attribute, or one without values.
    """

    def __init__(self, channels: int, attributes: Sequence[int]) -> None:
        super().__init__()
        if not attributes or min(attributes) < 1:
            raise ValueError(f"every attribute needs a number of values, got {list(attributes)}")
        values = [torch.eye(count)[index] for count, index in zip(attributes, _grid(attributes))]
        self.register_buffer("members", torch.cat(values, 1), persistent=False)
        self.projection = nn.Linear(channels, sum(attributes))
        self.no_object = nn.Linear(channels, 1)

    @property
    def num_classes(self) -> int:
        """C, without that of no object."""
        return len(self.members)

    def forward(self, queries: Tensor, *_: Tensor) -> Tensor:
        """(..., D) to (..., C + 1); what else a segmenter gives to its classifier is not read."""
        return torch.cat([self.projection(queries) @ self.members.T, self.no_object(queries)], -1)


def _grid(attributes: Sequence[int]) -> Tensor:
    """(attributes, C) value of each attribute in each class."""
    return torch.tensor(list(product(*map(range, attributes)))).T.contiguous()
