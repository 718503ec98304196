"""JSON that a stranger has sent."""

import json
from typing import Any


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: it is something else, is nested too deep, or has a value such as NaN that JSON does not know.
    """
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
