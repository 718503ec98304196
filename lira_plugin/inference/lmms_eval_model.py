"""A LIRA as lmms-eval's model ``lira``: ``python -m lmms_eval --model lira --model_args config=...,checkpoint=...``."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from mmengine.logging import print_log
from tqdm import tqdm

from lira_plugin.inference.inferencer import LIRAInferencer
from lira_plugin.inference.text_answers import TextQuestion, answer_in_words
from lira_plugin.settings import WrongSetting

PARAGRAPH = "\n\n"
"""lmms-eval's delimiter of examples. It is in ``until`` of every task that does not set it; most of its models pass it over."""
_BATCHES = 4
"""Batches whose images are in memory together, so that questions about one image share its encoding."""


class LIRAForLmmsEval(lmms):
    """The model ``lira`` of lmms-eval: greedy answers in words, many at a time, each image encoded once.

    Each process of ``accelerate launch`` has the whole model and answers its share of the questions.

    Args:
        config: recipe (name or path), whose test pipeline says how images are tiled, or a work dir.
        checkpoint: weights: a file, or a work dir. None takes those of the work dir ``config``.
        dtype: what the weights are cast to, such as ``bfloat16``; None leaves them as they are.
        ilvc: let the model ask for views.
        batch_size: answers written at the same time; a whole number.
        max_batch_size: lmms-eval's; it has no effect.
        device: where to run; by default this process's GPU, if there is one.

    Raises:
        WrongSetting: ``batch_size`` is no whole number above 0, or ``ilvc`` is neither True nor False.
    """

    is_simple = True

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        dtype: str | None = None,
        ilvc: bool = False,
        batch_size: int | str = 16,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(ilvc, bool):
            raise WrongSetting(f"ilvc must be True or False, got {ilvc!r}")
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise WrongSetting(
                f"batch_size must be a whole number above 0, got {batch_size!r}; 'auto' is not known here"
            )
        self.ilvc, self.batch_size = ilvc, int(batch_size)
        if device in (None, "cuda") and torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        self.lira = LIRAInferencer(config, checkpoint, device, dtype=dtype, show_progress=False)

    @property
    def device(self) -> torch.device:
        """Where the model is; lmms-eval gathers there."""
        return next(self.lira.model.parameters()).device

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Answer the requests of all tasks, in order.

        Raises:
            ValueError: a request is about several images, or one that cannot be read.
        """
        answers: dict[int, str] = {}
        with tqdm(total=len(requests), desc="answers", disable=self.rank != 0) as bar:
            for settings, indices in batches_of_requests(requests, self.batch_size * _BATCHES):
                asked = [self._question(requests[index]) for index in indices]
                found = answer_in_words(self.lira, asked, ilvc=self.ilvc, batch_size=self.batch_size, **settings)
                answers.update(zip(indices, found, strict=True))
                bar.update(len(indices))
        return [answers[index] for index in range(len(requests))]

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Not there: raises ``NotImplementedError``."""
        raise NotImplementedError("the model 'lira' answers single questions; leave out tasks of several rounds")

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Not there: raises ``NotImplementedError``."""
        raise NotImplementedError("the model 'lira' writes answers; leave out tasks that score given ones")

    def clean(self) -> None:
        """Free the memory of the model, after the last answer."""
        del self.lira
        super().clean()

    def _question(self, request: Instance) -> TextQuestion:
        context, _, images_of, doc_id, task, split = request.args
        images = images_of(self.task_dict[task][split][doc_id]) or ()
        return TextQuestion(f"question {doc_id} of {task} ({split})", context, tuple(images))


def batches_of_requests(requests: Sequence[Instance], size: int) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Settings with the indices of up to ``size`` requests that are answered with them, in the order of the requests."""
    groups: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(repr(sorted(request.args[1].items())), []).append(index)
    for indices in groups.values():
        settings = generation_settings(requests[indices[0]].args[1])
        for start in range(0, len(indices), size):
            yield settings, indices[start : start + size]


def generation_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A task's ``generation_kwargs`` as settings of generation; what the task does not say is the recipe's.

    Tokens are drawn where ``temperature`` is above 0 and ``do_sample`` is not false. A setting that is not known here is told of
    and has no effect; there is no beam search.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    kinds = {"max_new_tokens": int, "repetition_penalty": float}
    settings: dict[str, Any] = {name: kind(asked.pop(name)) for name, kind in kinds.items() if name in asked}
    until = asked.pop("until", ())
    stops = [text for text in ([until] if isinstance(until, str) else until) if text and text != PARAGRAPH]
    if stops:
        settings["stop_strings"] = tuple(stops)
    kinds = {"temperature": float, "top_p": float, "top_k": int}
    drawing = {name: kind(asked.pop(name)) for name, kind in kinds.items() if name in asked}
    settings["do_sample"] = bool(asked.pop("do_sample", True)) and drawing.get("temperature", 0) > 0
    if settings["do_sample"]:
        settings |= drawing
    if asked.get("num_beams") == 1:
        del asked["num_beams"]
    for name, value in asked.items():
        message = f"the setting {name}={value!r} of a task is not known to the model 'lira' and has no effect"
        print_log(message, logger="current", level=logging.WARNING)
    return settings
