"""A web page to chat with a trained LIRA. Only :mod:`lira_plugin.demo.app` needs gradio (``lira_plugin[demo]``)."""

from lira_plugin.demo.chat import Chat

__all__ = ["Chat"]
