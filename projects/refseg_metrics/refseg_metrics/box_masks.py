"""mmdet's Grounding DINO with masks: of each phrase the best box, filled."""

from typing import Any

import torch
from mmdet.models import GroundingDINO
from mmdet.models.layers.transformer.utils import MLP
from torch import Tensor, nn

from lira_plugin.checkpoint.files import load_into
from lira_plugin.registry import MODELS

WIDTH = 256
"""Of the embeddings of words' positions, and half of those of boxes, whatever the width of mmdet's model."""


@MODELS.register_module()
class BoxMaskGroundingDINO(GroundingDINO):
    """Grounding DINO (arXiv 2303.05499) as mmdet has it, whose answers have one mask for each phrase that it was given.

    It is trained as any detector. The masks are what any metric of masks needs, and no more than boxes can say.

    mmdet fixes two of its widths for a model of 256 channels. In a narrower one, words do not look at each other in the encoder
    (its BERT has done that), and the layer that reads the queries' boxes is as wide as these.

    Args:
        backbone_from: what the backbone starts from, the arguments of :func:`~lira_plugin.checkpoint.files.load_into`, or None.
        settings: arguments of mmdet's ``GroundingDINO``.
    """

    def __init__(self, backbone_from: dict | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if backbone_from is not None:
            load_into(nn.ModuleDict({"backbone": self.backbone}), **backbone_from)

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.embed_dims != WIDTH:
            self.encoder.text_layers = nn.ModuleList()
            self.decoder.ref_point_head = MLP(2 * WIDTH, self.embed_dims, self.embed_dims, 2)

    def predict(self, batch_inputs: Tensor, batch_data_samples: list, rescale: bool = True) -> list:
        """Detect, and fill the box of the highest score of each phrase, in the size of the image."""
        for sample in super().predict(batch_inputs, batch_data_samples, rescale=rescale):
            found = sample.pred_instances
            best = found.scores.argsort(descending=True, stable=True)
            labels = found.labels[best].tolist()
            found = found[best[[labels.index(label) for label in sorted(set(labels))]]]
            found.masks = fill_boxes(found.bboxes, *sample.ori_shape[:2])
            sample.pred_instances = found
        return batch_data_samples


def fill_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """(K, 4) boxes (left, top, right, bottom) to masks (K, height, width): the pixels whose centres are inside."""
    x = torch.arange(width, device=boxes.device) + 0.5
    y = torch.arange(height, device=boxes.device) + 0.5
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return down[:, :, None] & across[:, None]
