"""The whole tiny recipe in one go."""

from lira_plugin.quickstart.chain import Quickstart
from lira_plugin.quickstart.families import FAST, FULL, Family, Stage
from lira_plugin.quickstart.quickstart_report import format_summary, next_commands
from lira_plugin.quickstart.stage_record import StageRecord

__all__ = ["FAST", "FULL", "Family", "Quickstart", "Stage", "StageRecord", "format_summary", "next_commands"]
