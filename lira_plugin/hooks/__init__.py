"""MMEngine hooks and the training loop."""

from lira_plugin.hooks.misspelt import MisspeltSettingsHook
from lira_plugin.hooks.progress import ProgressBarHook
from lira_plugin.hooks.resume import ResumableTrainLoop, SeedEachIterHook
from lira_plugin.hooks.visualization import GroundingVisualizationHook

__all__ = [
    "GroundingVisualizationHook",
    "MisspeltSettingsHook",
    "ProgressBarHook",
    "ResumableTrainLoop",
    "SeedEachIterHook",
]
