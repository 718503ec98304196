"""MMEngine hooks and the training loop."""

from lira_plugin.hooks.progress import ProgressBarHook
from lira_plugin.hooks.resume import ResumableTrainLoop, SeedEachIterHook
from lira_plugin.hooks.visualization import GroundingVisualizationHook

__all__ = ["GroundingVisualizationHook", "ProgressBarHook", "ResumableTrainLoop", "SeedEachIterHook"]
