"""A semantic encoder that learns to name what views show, where no pretrained one is at hand.

Shape letters: R views, U tokens a view, H width of the LLM, C classes.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from lira_plugin.checkpoint.files import check_before_load, load_into
from lira_plugin.distributed import LoggedModel, mean_count
from lira_plugin.models.from_scratch.attribute_classes import AttributeClassifier
from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.settings import refuse_keywords
from lira_plugin.structures import GroundingBatch, InputSpec


@MODELS.register_module()
class ViewClassifier(LoggedModel):
    """Names the object in each view from the mean of the view's tokens.

    LIRA takes the encoder of a checkpoint with ``init_from``, and leaves the classifier (``ignore=["classifier"]``).

    Args:
        semantic_encoder: config of a :class:`~lira_plugin.models.semantic_encoder.base.SemanticEncoder`.
        hidden_size: H.
        class_attributes: see :class:`~lira_plugin.models.from_scratch.attribute_classes.AttributeClassifier`.
        init_from: weights of an earlier stage, each the arguments of :func:`~lira_plugin.checkpoint.files.load_into`.
    """

    def __init__(
        self,
        semantic_encoder: dict,
        hidden_size: int,
        class_attributes: Sequence[int],
        init_from: Sequence[dict] = (),
    ) -> None:
        super().__init__()
        self.semantic_encoder: SemanticEncoder = MODELS.build(semantic_encoder)
        self.classifier = AttributeClassifier(hidden_size, class_attributes)
        refuse_keywords(load_into, init_from, "init_from")
        for stage in init_from:
            load_into(self, **stage)
        self.register_load_state_dict_pre_hook(check_before_load)

    @property
    def input_spec(self) -> InputSpec:
        """What the data take from here."""
        return InputSpec(tile_size=self.semantic_encoder.tile_size)

    def forward(self, batch: GroundingBatch, data_samples: Any = None, mode: str = "loss") -> Any:
        """MMEngine's entry point.

        Args:
            batch: with one view for each of its masks, in their order (:class:`~lira_plugin.datasets.CutViews`).
            data_samples: the samples of the batch, for ``predict``.
            mode: ``loss`` gives the cross-entropy and, for the log, the accuracy; ``predict`` one ``InstanceData`` (``scores``
                and ``labels``, one a region) a sample; ``tensor`` (R, C + 1) logits, the last of no object.

        Raises:
            ValueError: the views are not those of the masks, or the mode is unknown.
        """
        if len(batch.view_tiles) != len(batch.mask_labels):
            raise ValueError(
                f"a view of each of the {len(batch.mask_labels)} regions is needed, got {len(batch.view_tiles)} views: put "
                "CutViews into the pipeline"
            )
        with autocast_to_weights(self):
            tokens = self.semantic_encoder(batch.view_tiles)
            logits = self.classifier(tokens.mean(1)).float()
        if mode == "tensor":
            return logits
        if mode == "loss":
            return self._loss(logits, batch.mask_labels)
        if mode != "predict":
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")
        scores, labels = logits.softmax(-1).max(-1)
        counts = [len(sample.mask_labels) for sample in data_samples]
        return [InstanceData(scores=s, labels=n) for s, n in zip(scores.split(counts), labels.split(counts))]

    @staticmethod
    def _loss(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        count = mean_count(len(labels), logits.device)
        return {
            "loss_cls": F.cross_entropy(logits, labels, reduction="sum") / count,
            "accuracy": (logits.argmax(-1) == labels).sum() / count,
        }
