from support.inferencer_fixtures import leave_no_trace, lira

__all__ = ["leave_no_trace", "lira"]
