"""Reading JSON files, with messages that name the file."""

import json
import os
from typing import Any


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, perhaps because it is cut off.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not a JSON file (is it complete?): {error}") from error
