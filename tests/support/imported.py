"""What the processes that tests start have imported before they are forked, none of which starts a thread."""

import gc

import deepspeed  # noqa: F401
import torch
import xtuner.tools.train  # noqa: F401
from mmengine.config import config

import lira_plugin.evaluation
import lira_plugin.hooks
import lira_plugin.models
import lira_plugin.quickstart.panel  # noqa: F401

config.FormatCode = lambda text, **style: (text, True)  # to lay a recipe's text out takes seconds
torch.set_num_threads(1)
gc.freeze()
