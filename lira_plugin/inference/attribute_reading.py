"""What a model thinks an object is: the words of its attributes at the ``<seg>``, ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lira_plugin.inference.drawable import Drawable
from lira_plugin.settings import WrongSetting, refuse_type
from lira_plugin.structures import ATTRIBUTE_KINDS, GroundedSpan, MaskStage

if TYPE_CHECKING:
    from lira_plugin.evaluation import RankedWord

_SHOWN = 3
"""Words of each kind in a repr."""


@dataclass(frozen=True, repr=False)
class AttributeReading(Drawable):
    """The words of an object, the most probable first; the probabilities of a kind add up to 1.

    Args:
        expression: what the object is called.
        image: (H, W, 3) uint8.
        span: its masks; ``span.words`` has the log probabilities among all texts.
        coarse, refined: the words of each kind at the ``<seg>`` before and after the phrase.
    """

    expression: str
    image: np.ndarray
    span: GroundedSpan
    coarse: Mapping[str, tuple[RankedWord, ...]]
    refined: Mapping[str, tuple[RankedWord, ...]]

    @classmethod
    def of_span(cls, expression: str, image: np.ndarray, span: GroundedSpan) -> AttributeReading:
        """Rank the words of a span that was asked for them."""
        from lira_plugin.evaluation import ranked_words  # and all metrics with it, which few answers need

        stages: tuple[MaskStage, ...] = ("coarse", "refined")
        ranked = [{kind: tuple(ranked_words(own)) for kind, own in span.words_of(stage).items()} for stage in stages]
        return cls(expression, image, span, *ranked)

    def words_of(self, stage: MaskStage) -> Mapping[str, tuple[RankedWord, ...]]:
        """The words of each kind at the ``<seg>`` of a stage."""
        return self.coarse if stage == "coarse" else self.refined

    def plot(
        self,
        *,
        stage: MaskStage = "coarse",
        lines: int = 5,
        cell_height: int = 240,
        width: int = 1280,
        font: str | None = None,
    ) -> Image.Image:
        """The mask, and a bar chart of the words of each kind.

        Args:
            stage: of mask and words.
            lines: words of each kind.
            cell_height: height of each picture in pixels.
            width: greatest width of the figure in pixels.
            font: path of a font to prefer.
        """
        from lira_plugin.visualization import attribute_row, panel  # only those who draw wait for it

        row = attribute_row(
            self.image,
            self.span.mask_of(stage),
            self.words_of(stage),
            expression=self.expression,
            stage=stage,
            cell_height=cell_height,
            lines=lines,
            font=font,
        )
        return Image.fromarray(panel([row], cell_height=cell_height, width=width, font=font))

    def to_json(self) -> dict[str, Any]:
        """All but image and masks, in plain types."""
        ranked = {
            stage: {kind: {word.value: word.prob for word in own} for kind, own in words.items()}
            for stage, words in (("coarse", self.coarse), ("refined", self.refined))
        }
        return {"expression": self.expression, "score": self.span.score, **ranked}

    def __repr__(self) -> str:
        kinds = [
            f"{kind} " + ", ".join(f"{word.value} {word.prob:.2f}" for word in own[:_SHOWN])
            for kind, own in self.coarse.items()
        ]
        return f"{type(self).__name__}({self.expression!r}: {'; '.join(kinds)})"


def words_to_ask(expression: str, sets: Mapping[str, Any] | None, usual: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The words of each kind of attribute that an object is asked for.

    Args:
        expression: what the object is called.
        sets: the words that were asked for, or None.
        usual: those of the recipe; where there are none, the package's lexicons (None for each kind).

    Raises:
        WrongSetting: ``sets`` has no kind, or an argument is of another type.
        ValueError: the expression is empty.
    """
    words = (usual or dict.fromkeys(ATTRIBUTE_KINDS)) if sets is None else sets
    refuse_type("sets", words, Mapping)
    refuse_type("expression", expression, str)
    if not expression.strip(" ."):
        raise ValueError(f"the expression must name an object, got {expression!r}")
    if not words:
        raise WrongSetting("sets has no kind of attribute: give words such as {'color': ['red', 'blue']}")
    return words
