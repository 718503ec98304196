"""OMG-Seg's classifier: a query and the features under its mask, compared with text embeddings.

Shape letters: N images, Q queries, D feature channels, h x w mask feature map, C classes, P prototypes a class, E channels of
an embedding.
"""

from math import exp
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lira_plugin.checkpoint.files import is_meta_init, read_tensor
from lira_plugin.registry import MODELS

NORM_TOLERANCE = 1e-3
"""By how much the length of a class embedding may differ from one (half-precision files round)."""


@MODELS.register_module()
class OpenVocabularyClassifier(nn.Module):
    """Class logits of object queries by similarity to embeddings of class names.

    The mask features are averaged under each mask, projected, added to the query and mapped into the space of the embeddings;
    a class is as similar as the most similar of its prototypes. "No object" has similarity 0. Parameters have the names they have
    in the published file.

    Args:
        channels: D.
        class_embeddings: (C, P, E) of unit length, or the arguments of :func:`read_class_embeddings`; fixed, and no part of a
            checkpoint.
        logit_scale: natural logarithm of the factor on the cosine.

    Raises:
        ValueError: the embeddings have another shape than (C, P, E), or not unit length.
    """

    def __init__(self, channels: int, class_embeddings: Tensor | dict, logit_scale: float = 4.6052) -> None:
        super().__init__()
        if isinstance(class_embeddings, dict):
            class_embeddings = read_class_embeddings(**class_embeddings)
        _check_embeddings(class_embeddings, "class_embeddings")
        self.mask_pooling_proj = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels))
        hidden = [layer for _ in range(2) for layer in (nn.Linear(channels, channels), nn.ReLU(inplace=True))]
        self.cls_proj = nn.Sequential(*hidden, nn.Linear(channels, class_embeddings.shape[-1]))
        self.scale = exp(logit_scale)
        self.register_buffer("class_embeddings", class_embeddings.float(), persistent=False)

    @property
    def num_classes(self) -> int:
        """C, without that of no object."""
        return len(self.class_embeddings)

    def forward(self, queries: Tensor, mask_features: Tensor, mask_logits: Tensor) -> Tensor:
        """Classify.

        Args:
            queries: (N, Q, D), after the decoder's last norm.
            mask_features: (N, D, h, w).
            mask_logits: (N, Q, h, w); features are pooled where they are positive.

        Returns:
            (N, Q, C + 1) in fp32, "no object" last.
        """
        pooled = self.mask_pooling_proj(mask_pool(mask_features, mask_logits))
        embedded = F.normalize(self.cls_proj(pooled + queries).float(), dim=-1)
        with torch.autocast(embedded.device.type, enabled=False):  # a cosine of 8 bits times 100 is off by an eighth
            similarity = torch.einsum("nqe,cpe->nqcp", embedded, self.class_embeddings.float()).amax(-1)
        return self.scale * F.pad(similarity, (0, 1))


def mask_pool(mask_features: Tensor, mask_logits: Tensor) -> Tensor:
    """Mean of (N, D, h, w) features where (N, Q, h, w) logits are positive: (N, Q, D), zero under an empty mask.

    Divided before it is summed up: the sum over a large mask can be beyond fp16.
    """
    inside = (mask_logits > 0).flatten(2).float()
    inside /= inside.sum(-1, keepdim=True).clamp(min=1)
    return inside.to(mask_features.dtype) @ mask_features.flatten(2).transpose(1, 2)


def read_class_embeddings(
    path: str | Path, num_classes: int, channels: int, obtain: str = "", prototypes: int = 1
) -> Tensor:
    """Read the embeddings of class names, such as ``convnext_large_d_320_CocoPanopticOVDataset.pth``.

    Where weights are left out (:func:`~lira_plugin.checkpoint.files.is_meta_init`), nothing is read.

    Args:
        path: torch file with one (C, P, E) tensor.
        num_classes: C.
        channels: E.
        obtain: where the file comes from, for the message.
        prototypes: P, where nothing is read; a file says it itself.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds something else.
    """
    if is_meta_init():
        return F.normalize(torch.ones(num_classes, prototypes, channels, device="cpu"), dim=-1)
    embeddings = read_tensor(path, obtain)
    _check_embeddings(embeddings, str(path))
    if (embeddings.shape[0], embeddings.shape[2]) != (num_classes, channels):
        raise ValueError(
            f"{path} has the shape {tuple(embeddings.shape)}, expected {num_classes} classes with any number of prototypes of "
            f"{channels} channels"
        )
    return embeddings


def _check_embeddings(embeddings: Tensor, where: str) -> None:
    if embeddings.ndim != 3 or not embeddings.is_floating_point():
        raise ValueError(
            f"{where} must be floating point numbers (classes, prototypes, channels), got {embeddings.dtype} "
            f"{tuple(embeddings.shape)}"
        )
    lengths = embeddings.float().norm(dim=-1)
    if ((lengths - 1).abs() > NORM_TOLERANCE).any():
        raise ValueError(
            f"{where} must have unit length, but lengths go from {lengths.min():.3g} to {lengths.max():.3g}"
        )
