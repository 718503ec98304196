"""MMEngine hooks and the loops of training and testing."""

from lira_plugin.hooks.checkpoint import CompleteCheckpointHook
from lira_plugin.hooks.data_protocol import DataProtocolHook
from lira_plugin.hooks.evaluation_settings import EvaluationSettingsHook
from lira_plugin.hooks.finite_steps import FiniteStepsHook
from lira_plugin.hooks.fit_data import FitDataHook
from lira_plugin.hooks.given_weights import GivenWeightsHook
from lira_plugin.hooks.grounding_visualization import GroundingVisualizationHook
from lira_plugin.hooks.misspelt import MisspeltSettingsHook
from lira_plugin.hooks.progress import ProgressBarHook
from lira_plugin.hooks.resume import ResumableTrainLoop, SeedEachIterHook
from lira_plugin.hooks.retry_questions import RetryTestLoop
from lira_plugin.hooks.schedules import CosineShareLR, LinearShareLR
from lira_plugin.hooks.spelt_phrases import SpeltPhrasesHook
from lira_plugin.hooks.work_dir_lock import WorkDirLockHook

__all__ = [
    "CompleteCheckpointHook",
    "CosineShareLR",
    "DataProtocolHook",
    "EvaluationSettingsHook",
    "FiniteStepsHook",
    "FitDataHook",
    "GivenWeightsHook",
    "GroundingVisualizationHook",
    "LinearShareLR",
    "MisspeltSettingsHook",
    "ProgressBarHook",
    "ResumableTrainLoop",
    "RetryTestLoop",
    "SeedEachIterHook",
    "SpeltPhrasesHook",
    "WorkDirLockHook",
]
