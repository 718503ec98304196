"""Scans of annotation files, one file a format: every fault with its position, which readers need not remember."""

from collections.abc import Callable
from typing import Any

from lira_plugin.datasets.coco_instance import CocoInstanceDataset
from lira_plugin.datasets.coco_phrases import CocoPhraseDataset
from lira_plugin.datasets.coco_prompt import CocoPromptDataset
from lira_plugin.datasets.gcg import GCGDataset
from lira_plugin.datasets.llava import LlavaDataset
from lira_plugin.datasets.reason_seg import ReasonSegDataset
from lira_plugin.datasets.refer import ReferSegDataset
from lira_plugin.datasets.scans.coco_scan import scan_instances
from lira_plugin.datasets.scans.gcg_scan import scan_gcg
from lira_plugin.datasets.scans.llava_scan import scan_llava
from lira_plugin.datasets.scans.reason_scan import scan_reason
from lira_plugin.datasets.scans.refer_scan import scan_refer
from lira_plugin.datasets.scans.scan import ImageClaim, MaskClaim, Scan, settings_of

SCANS: dict[type, Callable[[Scan, Any], None]] = {
    ReferSegDataset: scan_refer,
    GCGDataset: scan_gcg,
    LlavaDataset: scan_llava,
    CocoInstanceDataset: scan_instances,
    CocoPhraseDataset: scan_instances,
    CocoPromptDataset: scan_instances,
    ReasonSegDataset: scan_reason,
}
"""How the files of each reader are scanned. Those of other readers are read as a training reads them, and cannot be mended."""


def source_of(kind: type, settings: Any) -> str:
    """Data set and split, as the reader names them."""
    if settings.source:
        return settings.source
    if kind is GCGDataset:
        return f"gcg/{settings.layout}"
    return f"reasonseg/{settings.split}" if kind is ReasonSegDataset else f"{settings.dataset}/{settings.split}"


__all__ = ["SCANS", "ImageClaim", "MaskClaim", "Scan", "settings_of", "source_of"]
