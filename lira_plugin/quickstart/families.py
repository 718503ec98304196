"""The chains of recipes that make a model from nothing: the full one, and a fast one on easier scenes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lira_plugin.scenes.scene_levels import SceneLevel


@dataclass(frozen=True)
class Stage:
    """One recipe of a chain.

    Args:
        name: what it trains.
        recipe: name of its config.
        folder: the folder below the root that it trains in.
        seconds: how long it takes on two cores that have nothing else to do.
    """

    name: str
    recipe: str
    folder: str
    seconds: float = 0.0

    def config_in(self, folder: Path) -> Path:
        """Its config file."""
        return folder / f"{self.recipe}.py"


@dataclass(frozen=True)
class Family:
    """A chain of recipes and the scenes that it learns from.

    Args:
        folder: where a run is written, below ``work_dirs``.
        groups: stages in order; those of a group need nothing of each other and are trained side by side, the longest first.
        scenes: training scenes.
        eval_scenes: scenes of each of val, testA and testB.
        scene_seconds, eval_seconds: how long drawing the scenes and the evaluation take on two idle cores.
        size: longer side of a scene in pixels.
        level: of the scenes, see :func:`~lira_plugin.scenes.scene_drawing.make_scene`.
    """

    folder: str
    groups: tuple[tuple[Stage, ...], ...]
    scenes: int
    eval_scenes: int
    scene_seconds: float
    eval_seconds: float
    size: int = 128
    level: SceneLevel = "full"

    def stages(self, variant: str = "") -> Iterator[tuple[Stage, ...]]:
        """The groups; ``variant`` is the suffix of the last recipe and of its folder."""
        *earlier, (last,) = self.groups
        yield from earlier
        yield (Stage(last.name, f"{last.recipe}{variant}", f"{last.folder}{variant}", last.seconds),)


FULL = Family(
    folder="tiny",
    groups=(
        (Stage("segmenter", "lira_tiny_segmenter", "segmenter", 300),),
        (Stage("semantic", "lira_tiny_semantic", "semantic", 45),),
        (Stage("pretrain", "lira_tiny_pretrain", "pretrain", 155),),
        (Stage("finetune", "lira_tiny", "lira", 200),),
    ),
    scenes=6000,
    eval_scenes=100,
    scene_seconds=30,
    eval_seconds=60,
)
FAST = Family(
    folder="tiny_fast",
    groups=(
        (
            Stage("segmenter", "lira_tiny_fast_segmenter", "segmenter_fast", 70),
            Stage("semantic", "lira_tiny_fast_semantic", "semantic_fast", 25),
        ),
        (Stage("finetune", "lira_tiny_fast", "lira_fast", 120),),
    ),
    scenes=1500,
    eval_scenes=40,
    scene_seconds=20,
    eval_seconds=10,
    size=64,
    level="easy",
)
