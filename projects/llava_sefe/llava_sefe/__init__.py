"""xtuner's LLaVA with SEFE between its vision tower and its LLM."""

from llava_sefe.one_process import read_in_one_process
from llava_sefe.sefe_llava import SEFELLaVA
from llava_sefe.turn_accuracy import TurnAccuracy

__all__ = ["SEFELLaVA", "TurnAccuracy", "read_in_one_process"]
