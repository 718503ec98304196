"""Testing with a pool of questions: the next one is asked where an answer has no mask."""

from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from lira_plugin.datasets import Draw
from lira_plugin.registry import LOOPS


@LOOPS.register_module()
class RetryTestLoop(TestLoop):
    """Testing in which the first answer with a mask wins, as in LIRA's ``omg_llava/tools/gcg_lira.py``.

    A record whose answer has no span is drawn again, with the draw indices 1, 2, ..., by which a data set such as
    :class:`~lira_plugin.datasets.GCGTestDataset` asks its next question. Where no answer has a mask, the last one counts. Each
    process asks again on its own.

    Args:
        runner: whose loop it is.
        dataloader: loader or its config.
        evaluator: evaluator or its config.
        retries: how often a record is asked again at most.
        kwargs: see :class:`mmengine.runner.TestLoop`.

    Raises:
        ValueError: ``retries`` is negative.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        retries: int = 5,
        **kwargs: Any,
    ) -> None:
        if retries < 0:
            raise ValueError(f"retries must not be negative, got {retries}")
        super().__init__(runner, dataloader, evaluator, **kwargs)
        self.retries = retries

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Answer and evaluate one batch."""
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        samples = list(data_batch["data_samples"])
        answers = self._answer(data_batch)
        for draw_index in range(1, self.retries + 1):
            without = [index for index, answer in enumerate(answers) if not answer.spans]
            if not without:
                break
            for index in without:
                samples[index] = self.dataloader.dataset[Draw(samples[index].index, draw_index)]
            again = self._answer(self.dataloader.collate_fn([samples[index] for index in without]))
            for index, answer in zip(without, again, strict=True):
                answers[index] = answer
        data_batch = {**data_batch, "data_samples": samples}
        self.evaluator.process(data_samples=answers, data_batch=data_batch)
        self.runner.call_hook("after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=answers)

    def _answer(self, data_batch: dict[str, Any]) -> list[Any]:
        with autocast(enabled=self.fp16):
            return list(self.runner.model.test_step(data_batch))
