"""Ask a trained LIRA about images."""

from lira_plugin.inference.attribute_reading import AttributeReading
from lira_plugin.inference.image_answer import ImageAnswer, coco_dataset
from lira_plugin.inference.inferencer import LIRAInferencer
from lira_plugin.inference.inputs import ImageInput, Prompt, read_prompts
from lira_plugin.inference.loading import find_recipe
from lira_plugin.inference.results import InferenceResult, ResultWriter

__all__ = [
    "AttributeReading",
    "ImageAnswer",
    "ImageInput",
    "InferenceResult",
    "LIRAInferencer",
    "Prompt",
    "ResultWriter",
    "coco_dataset",
    "find_recipe",
    "read_prompts",
]
