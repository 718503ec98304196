"""LIRA-2B as released answers questions in words, as the reference's plain chat does: what all suites share.

A leaf names data and rule, and tiles and token limit where they are others. Answers are text: without ILVC no view is cut. The
answer is greedy for all suites; the reference searches with five beams for POPE.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import AnswerMetric, ChanceLevel
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from ...lira_2b_released import *
    from .suite_data import *

eval_root = f"{root}/2b_eval"
model.generation.update(ilvc=False, max_new_tokens=10, batch_size=16)
test_dataloader.update(batch_size=16)
test_dataloader.dataset.pipeline.tile.update(min_tiles=4, max_tiles=6)
test_evaluator = [dict(type=AnswerMetric), dict(type=ChanceLevel)]
custom_hooks.append(dict(type=EvaluationSettingsHook))
