"""What a recipe amounts to, before any weight is there: parameters, sequence lengths, memory."""

from lira_plugin.describe.memory import AMP, DEEPSPEED, ActivationShape, Memory, Precision, estimate_memory
from lira_plugin.describe.parts import PartSize, RecipeSize, count_parts, input_spec_of_recipe, measure_recipe
from lira_plugin.describe.report import describe_recipe
from lira_plugin.describe.sequence import ImagePositions, SequencePlan

__all__ = [
    "AMP",
    "DEEPSPEED",
    "ActivationShape",
    "ImagePositions",
    "Memory",
    "PartSize",
    "Precision",
    "RecipeSize",
    "SequencePlan",
    "count_parts",
    "describe_recipe",
    "estimate_memory",
    "input_spec_of_recipe",
    "measure_recipe",
]
