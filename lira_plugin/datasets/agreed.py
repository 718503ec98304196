"""Settings of a data pipeline that the model decides as well."""

from typing import Any, TypeVar

from lira_plugin.structures import InputSpec
from lira_plugin.tokens import SpecialTokens

T = TypeVar("T")


class Disagreement(ValueError):
    """A setting of the data and one of the model contradict each other; the message begins with the name of the former."""


def contradiction(name: str, given: Any, spec: InputSpec, field: str) -> Disagreement:
    """The error of a setting ``name`` of the data, which is ``given``, and the model's ``field``."""
    return Disagreement(
        f"{name}={given!r}, but {spec.settings[field]} makes {field}={getattr(spec, field)!r} "
        "(docs/troubleshooting.md#data-and-model-disagree)"
    )


def agreed(name: str, given: T | None, spec: InputSpec, field: str) -> T | None:
    """The model's value where none is given, and the given one where the model says nothing.

    Args:
        name: of the setting of a transform.
        given: its value.
        spec: what the model asks for.
        field: name of the attribute of ``spec`` that has to agree.

    Raises:
        Disagreement: both say something, and not the same.
    """
    said = getattr(spec, field)
    if given is not None and said is not None and given != said:
        raise contradiction(name, given, spec, field)
    return said if given is None else given


def agreed_tokens(given: SpecialTokens | None, spec: InputSpec) -> SpecialTokens | None:
    """As :func:`agreed`, of special tokens, of which the spelling counts."""
    said = spec.special_tokens
    if given is not None and said is not None and given.spelling != said.spelling:
        raise Disagreement(
            f"special_tokens are {given.spelling}, but those of {spec.settings['special_tokens']} are {said.spelling}"
        )
    return said if given is None else given


def needed(value: T | None, owner: object, name: str) -> T:
    """A setting that has to be known by now.

    Raises:
        ValueError: it was neither given nor taken from a model.
    """
    if value is None:
        raise ValueError(
            f"{type(owner).__name__} has no {name}: give one, or let it be taken from the model, as ResumableTrainLoop and "
            "FitDataHook (lira_plugin.hooks) and lira_plugin.datasets.fit_to_model do"
        )
    return value
