"""Names and types of settings, looked at before they are used: what is wrong, what is allowed, and what may be meant.

Shared by configs, whose dictionaries name what they build (``type``), and by functions that take settings as keywords.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache, wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from mmengine.utils import get_object_from_string

_FORWARDING = ("lira_plugin.", "mmengine.", "torch.")
"""Packages whose constructors hand further keywords to those of their bases."""


class WrongSetting(ValueError, TypeError):
    """A setting that does not exist, or a value that it cannot have; Python has a class of its own for each."""


SHARE_KEYS = ("repeats", "cap", "share")
"""What an entry of a mixture says beside what it builds; see :mod:`lira_plugin.datasets.mixture_shares`."""


def refuse_unknown(given: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Refuse names that are not allowed.

    Args:
        given: the names.
        allowed: those that there are.
        where: begins the message.

    Raises:
        WrongSetting: a name is not allowed; the message has the nearest one and all of them.
    """
    known = sorted(set(allowed))
    for name in given:
        if name not in known:
            close = get_close_matches(str(name), known, n=1, cutoff=0.6)
            meant = f"; is {close[0]!r} meant?" if close else "."
            raise WrongSetting(
                f"{where} has no setting {name!r}{meant} Its settings are: {', '.join(known)} "
                "(docs/troubleshooting.md#unknown-setting)"
            )


def refuse_keywords(function: Callable, given: Sequence[Any], where: str) -> None:
    """Refuse dictionaries that are to be the keywords of a function, but have names that it does not take.

    Args:
        function: a function or class, whose first argument is given by others.
        given: the dictionaries.
        where: name of the setting.

    Raises:
        WrongSetting: one is no dictionary, or has a name that is not allowed.
    """
    _, *names = parameters_of(function)[0]
    for keywords in given:
        refuse_type(f"an entry of {where}", keywords, dict)
        refuse_unknown(keywords, names, where)


def refuse_type(name: str, value: Any, annotation: Any) -> None:
    """Refuse a value of another type than an annotation asks for.

    Args:
        name: of the setting.
        value: its value.
        annotation: such as ``int``, ``float | None`` or ``Sequence[str]``, of which the content is not looked at.

    Raises:
        WrongSetting: the value is of another type; the message names it.
    """
    if not _fits(value, annotation):
        raise WrongSetting(f"{name} must be {_words(annotation)}, got {value!r:.80} ({type(value).__name__})")


def check_config(config: Any, where: str = "", extra: Iterable[str] = ()) -> None:
    """Look at the names and types in a dictionary that says what it builds, and in those inside of it.

    Args:
        config: a dictionary, a list, or anything else, which passes.
        where: dotted name of the setting.
        extra: keys that the reader of the dictionary takes out before it builds the rest.

    Raises:
        WrongSetting: a name is unknown or a value of another type than the constructor says.
    """
    for key, inner in _items(config):
        child = f"{where}.{key}" if where else str(key)
        more = SHARE_KEYS if where.endswith("datasets") else extra
        check_config(inner, child, more)
    if not isinstance(config, Mapping) or "type" not in config:
        return
    made = _named(config["type"])
    if made is None:
        return
    parameters, takes_any = parameters_of(made)
    names = [name for name in config if name not in ("type", "_scope_", *extra)]
    strange = [name for name in names if name not in parameters]
    if takes_any:  # then a slip is what is nearly a name
        strange = [name for name in strange if get_close_matches(name, parameters, n=1, cutoff=0.8)]
    refuse_unknown(strange, parameters, f"{where or 'the config'} ({made.__name__})")
    for name in parameters.keys() & set(names):
        refuse_type(f"{where}.{name}" if where else name, config[name], parameters[name])


def check_arguments(made: Any) -> Any:
    """Let a class look at the arguments of its own constructor; anything else stays as it is.

    An argument that does not exist, or is of another type than its annotation, is a :class:`WrongSetting`.
    """
    if not inspect.isclass(made) or "__init__" not in vars(made):
        return made
    construct, signature = made.__init__, inspect.signature(made.__init__)
    annotations, takes_any = _signature(construct)

    @wraps(construct)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        if not takes_any:
            refuse_unknown(kwargs, annotations, made.__name__)
        for name, value in signature.bind(self, *args, **kwargs).arguments.items():
            if name in annotations:
                refuse_type(f"{name} of {made.__name__}", value, annotations[name])
        construct(self, *args, **kwargs)

    made.__init__ = checked
    return made


def refuse_untyped(config: Any, where: str) -> None:
    """Refuse a dictionary that does not say what it builds.

    Raises:
        WrongSetting: it has no ``type``.
    """
    if isinstance(config, Mapping) and "type" not in config:
        raise WrongSetting(
            f"{where} does not say what it builds: it needs a 'type', and has {', '.join(map(str, config))}"
        )


@lru_cache(1024)
def parameters_of(made: Callable) -> tuple[dict[str, Any], bool]:
    """Keywords that a class or function takes, with their annotations, and whether it takes others as well."""
    if not inspect.isclass(made):
        return _signature(made)
    found: dict[str, Any] = {}
    for base in made.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        own, takes_any = _signature(base.__init__)
        found = {**own, **found}
        if not takes_any or not base.__module__.startswith(_FORWARDING):
            return found, takes_any
    return (found, True) if found else _signature(made)


def _signature(function: Callable) -> tuple[dict[str, Any], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a class that is written in C
        return {}, True
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {item.name: item.annotation for item in parameters if item.kind in named and item.name != "self"}
    return found, any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)


def _named(made: Any) -> Callable | None:
    """What ``type`` names, as far as that is known without a registry."""
    if isinstance(made, str):
        try:
            made = get_object_from_string(made) if made.count(".") > 1 else None
        except (ImportError, AttributeError):
            return None
    return made if callable(made) and hasattr(made, "__name__") else None


def _items(config: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(config, Mapping):
        yield from config.items()
    elif isinstance(config, list | tuple):
        yield from enumerate(config)


def _fits(value: Any, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    kind = origin or annotation
    if kind in (None, NoneType):
        return value is None
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str | Path)  # a text may be the path of something
    if kind is Path:
        return isinstance(value, str | Path)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping) or not isinstance(value, str | int | float | list | tuple | None)
    if kind in (list, tuple, Sequence):
        return not isinstance(value, str | int | float | Mapping | None)
    return True


def _words(annotation: Any) -> str:
    """An annotation as a reader says it."""
    words = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a text",
        None: "None",
        NoneType: "None",
    }
    words |= {list: "a list", tuple: "a list", Sequence: "a list", dict: "a dict", Mapping: "a dict", Path: "a path"}
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in get_args(annotation)))
    if origin is Literal:
        return " or ".join(map(repr, get_args(annotation)))
    kind = origin or annotation
    return words.get(kind, getattr(kind, "__name__", str(kind)))
