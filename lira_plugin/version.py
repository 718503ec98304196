"""The version of lira_plugin, read by the build."""

__version__ = "0.1.0"
