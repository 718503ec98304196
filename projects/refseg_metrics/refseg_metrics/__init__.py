"""A detector that reads, whose boxes our metrics score as masks."""

from refseg_metrics.box_masks import BoxMaskGroundingDINO
from refseg_metrics.new_bert import NewBertModel

__all__ = ["BoxMaskGroundingDINO", "NewBertModel"]
