"""The text of a configuration, formatted once.

Mends MMEngine 0.10.6: yapf formats the whole configuration each time that it is written: to the log, to ``work_dir``, for the
visualizer and into every checkpoint. That takes two to three seconds for a text that has not changed. It can go when MMEngine
keeps the text or writes configurations without formatting.

Importing this module makes MMEngine keep the latest texts. The recipes import it (``configs/lira/_base_/default_runtime.py``).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mmengine.config import config


def remember(format_code: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the four latest results of ``yapf.yapflib.yapf_api.FormatCode``, whose style may be a dict."""

    @lru_cache(4)
    def format_once(text: str, style: tuple[tuple[str, Any], ...], **options: Any) -> Any:
        return format_code(text, style_config=dict(style), **options)

    def remembering(text: str, style_config: dict[str, Any], **options: Any) -> Any:
        return format_once(text, tuple(style_config.items()), **options)

    return remembering


config.FormatCode = remember(config.FormatCode)
