"""What a recipe amounts to, before any weight is there: parameters, sequence lengths, memory."""

from lira_plugin.describe.memory import AMP, DEEPSPEED, ActivationShape, Memory, Precision, estimate_memory
from lira_plugin.describe.parts import PartSize, RecipeSize, count_parts, measure_recipe
from lira_plugin.describe.recipe import describe_recipe
from lira_plugin.describe.sequence import ImageRows, SequencePlan

__all__ = [
    "AMP",
    "DEEPSPEED",
    "ActivationShape",
    "ImageRows",
    "Memory",
    "PartSize",
    "Precision",
    "RecipeSize",
    "SequencePlan",
    "count_parts",
    "describe_recipe",
    "estimate_memory",
    "measure_recipe",
]
