"""Pickle files of plain data, read without running what is inside them."""

import os
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO

from lira_plugin.json_file import check_is_file


class PlainUnpickler(pickle.Unpickler):
    """An unpickler for containers, strings and numbers.

    Those need no global name, so every name but ``collections.OrderedDict`` is refused.

    Raises:
        pickle.UnpicklingError: the pickle names a class or function, or an object outside of the file.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a global name; only ``collections.OrderedDict`` is admitted."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it wants '{module}.{name}'")

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside of the file."""
        raise pickle.UnpicklingError(f"it wants the outside object {pid!r}")


def safe_load(path: str | os.PathLike) -> Any:
    """Read a pickle of dicts, lists, tuples, sets, strings, numbers, booleans and None.

    Byte strings of Python 2 are read as UTF-8 or, where the file is not UTF-8, as Latin-1.

    Raises:
        pickle.UnpicklingError: the file wants anything else, such as a class, a function or a NumPy number; nothing
            of it has run.
        ValueError: the file is not a pickle, is cut off, or no regular file.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        try:
            return _load(file, path, "utf-8")
        except UnicodeDecodeError:
            file.seek(0)
            return _load(file, path, "latin1")


def _load(file: BinaryIO, path: str | os.PathLike, encoding: str) -> Any:
    try:
        return PlainUnpickler(file, encoding=encoding).load()
    except UnicodeDecodeError:
        raise
    except pickle.UnpicklingError as error:
        if not str(error).startswith("it wants"):
            raise ValueError(f"{path} is not a readable pickle: {error}") from error
        raise pickle.UnpicklingError(
            f"{path} is refused: {error}, but only plain containers, strings and numbers are read from a pickle. If "
            "you trust the file, rewrite it once with plain data (`.tolist()` or `.item()` turns NumPy values into "
            "Python's) or as JSON."
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is not a readable pickle: {type(error).__name__}: {error}") from error
