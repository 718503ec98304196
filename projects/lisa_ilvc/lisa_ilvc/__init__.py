"""LISA with views: SAM decodes the masks of ``<seg>`` states, and their crops go back into the sequence."""

from lisa_ilvc.lisa import LISA, SamGrounder
from lisa_ilvc.sam_decoder import SamDecoder

__all__ = ["LISA", "SamDecoder", "SamGrounder"]
