"""MMEngine hooks and the training loop."""

from lira_plugin.hooks.fit_data import FitDataHook
from lira_plugin.hooks.grounding_visualization import GroundingVisualizationHook
from lira_plugin.hooks.misspelt import MisspeltSettingsHook
from lira_plugin.hooks.progress import ProgressBarHook
from lira_plugin.hooks.resume import ResumableTrainLoop, SeedEachIterHook

__all__ = [
    "FitDataHook",
    "GroundingVisualizationHook",
    "MisspeltSettingsHook",
    "ProgressBarHook",
    "ResumableTrainLoop",
    "SeedEachIterHook",
]
