"""What an event may bring for each input of the page; everything else is refused before the framework sees it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_http_url_like

ADDRESS_REFUSED = "Upload the image; the demo fetches none."


def checked_value(component: Any, value: Any, find: Callable[[Any], Path]) -> Any:
    """The value of an input as it goes on.

    Args:
        component: the input.
        value: what the event brings.
        find: gives the visitor's upload for a path, or raises ``ValueError``.

    Raises:
        gradio.Error: the component has no such value.
    """
    match component:
        case gr.State():
            return None  # it is kept on the server
        case gr.Image():
            return None if value is None else _upload(value, find)
        case gr.Textbox():
            return _text(component, "" if value is None else value)
        case gr.Checkbox():
            good = isinstance(value, bool)
        case gr.Slider():
            good = _is_number(value) and component.minimum <= value <= component.maximum
        case gr.Radio():
            good = value in [choice for _, choice in component.choices] if isinstance(value, str) else False
        case gr.Dropdown():
            good = value is None or (type(value) is int and value >= 0)
        case _:
            good = False
    if not good:
        raise _error(f"{component.label or 'This input'} cannot be {repr(value)[:80]}.")
    return value


def _upload(value: Any, find: Callable[[Any], Path]) -> dict[str, Any]:
    path = value.get("path") if isinstance(value, dict) else value
    if isinstance(path, str) and is_http_url_like(path):
        raise _error(ADDRESS_REFUSED)
    try:
        return {"path": str(find(path)), "meta": {"_type": "gradio.FileData"}}
    except ValueError as error:
        raise _error(str(error)) from error


def _text(component: gr.Textbox, value: Any) -> str:
    if not isinstance(value, str):
        raise _error(f"{component.label} must be a text.")
    if len(value) > component.max_length:
        raise _error(f"{component.label} has {len(value)} characters, the demo takes {component.max_length} at most.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _error(f"{component.label} has half a character (a lone surrogate); write it anew.") from None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _error(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)
