"""The whole tiny recipe in one go."""

from lira_plugin.quickstart.chain import Quickstart, Stage, format_summary
from lira_plugin.quickstart.stage_record import StageRecord

__all__ = ["Quickstart", "Stage", "StageRecord", "format_summary"]
