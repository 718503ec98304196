"""Ask a trained LIRA about images."""

from lira_plugin.inference.inferencer import LIRAInferencer
from lira_plugin.inference.prompts import ImageInput, Prompt, read_prompts
from lira_plugin.inference.recipe import find_recipe
from lira_plugin.inference.results import InferenceResult, ResultWriter

__all__ = ["ImageInput", "InferenceResult", "LIRAInferencer", "Prompt", "ResultWriter", "find_recipe", "read_prompts"]
