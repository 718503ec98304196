"""xtuner's reader of dialogues in one process, where it would start 32 for a few thousand records."""

from functools import partial
from typing import Any
from unittest.mock import patch

import xtuner.dataset.llava
from xtuner.dataset import LLaVADataset

from lira_plugin.registry import DATASETS


@DATASETS.register_module()
def read_in_one_process(**settings: Any) -> LLaVADataset:
    """Build xtuner's ``LLaVADataset``; it has no setting for its processes, and on few cores they take minutes."""
    reader = partial(xtuner.dataset.llava.process_hf_dataset, map_num_proc=None)
    with patch.object(xtuner.dataset.llava, "process_hf_dataset", reader):
        return LLaVADataset(**settings)
