"""How often an epoch of a mixture draws from each of its data sets."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from lira_plugin.settings import SHARE_KEYS


@dataclass(frozen=True)
class Share:
    """What a recipe says of one data set.

    Args:
        repeats: how often each record is drawn; 0.1 draws a tenth of the records, 2.5 each of them twice and half of them once
            more.
        cap: draws at most, however many records there are.
        share: weight of the data set in the epoch, in place of ``repeats``.
    """

    repeats: float | None = None
    cap: int | None = None
    share: float | None = None

    @classmethod
    def of(cls, settings: dict[str, Any], where: str) -> "Share":
        """Read the settings of a data set.

        Raises:
            ValueError: a value is not positive, ``cap`` is no whole number, or there are both ``repeats`` and ``share``.
        """
        for name in (field.name for field in fields(cls)):
            value = settings.get(name)
            kind = int if name == "cap" else Real
            if name in settings and (not isinstance(value, kind) or isinstance(value, bool) or not value > 0):
                raise ValueError(
                    f"{where}: {name!r} must be a positive {'integer' if kind is int else 'number'}, got {value!r}"
                )
        if "repeats" in settings and "share" in settings:
            raise ValueError(f"{where}: give 'repeats' (draws of each record) or 'share' (of the epoch), not both")
        return cls(**{name: settings[name] for name in SHARE_KEYS if name in settings})


def count_draws(
    sizes: Sequence[int], shares: Sequence[Share], temperature: float | None = None, epoch_size: int | None = None
) -> list[int]:
    """Draws of each data set in an epoch.

    Without ``share`` and ``temperature`` they are ``repeats * size``. With a share, the epoch of ``epoch_size`` draws is divided
    by the shares. A temperature T takes the place of shares by ``size ** (1 / T)``: 1 draws by size, and the larger it is the
    more alike are the data sets (arXiv 1907.05019, section 3).

    Args:
        sizes: records of each data set.
        shares: what the recipe says of each.
        temperature: T, or None.
        epoch_size: draws of an epoch that is divided by shares; by default as many as there are records.

    Raises:
        ValueError: some data sets have a share and others have none, both shares and a temperature are given, or an epoch would
            draw nothing from a data set.
    """
    weights = [share.share for share in shares]
    if temperature is not None:
        if not temperature > 0 or any(weights) or any(share.repeats is not None for share in shares):
            raise ValueError(
                f"temperature={temperature!r} must be positive, and takes the place of 'share' and 'repeats' of the data sets"
            )
        weights = [size ** (1 / temperature) for size in sizes]
    if any(weights):
        if None in weights:
            raise ValueError("give every data set of the mixture a 'share', or none of them")
        total = sum(sizes) if epoch_size is None else epoch_size
        draws = [round(total * weight / sum(weights)) for weight in weights]
    elif epoch_size is not None:
        raise ValueError("epoch_size divides an epoch by 'share' or temperature, and there is neither")
    else:
        draws = [round(size * (1 if share.repeats is None else share.repeats)) for size, share in zip(sizes, shares)]
    draws = [count if share.cap is None else min(count, share.cap) for count, share in zip(draws, shares)]
    for position in (position for position, count in enumerate(draws) if not count and sizes[position]):
        raise ValueError(
            f"data set {position} of the mixture has {sizes[position]} records, and its share of an epoch is none of them; "
            "raise it, or leave the data set out"
        )
    return draws
