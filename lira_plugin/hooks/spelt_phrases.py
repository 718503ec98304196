"""A warning before a model is taught words that its tokenizer does not know."""

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from lira_plugin.hooks.fit_data import spec_of_runner
from lira_plugin.registry import HOOKS

_RECORDS = 200
"""Records of each data set that are looked at, spread over all of it."""
_SHORTEST = 4
"""Letters of the shortest word that counts: short ones are often written letter by letter."""
_SHOWN = 8


@HOOKS.register_module()
class SpeltPhrasesHook(Hook):
    """Warn of phrases with words that the tokenizer writes letter by letter, once before a training.

    Such words say nothing to the model at first: it has to learn what their letters mean together. The tokenizer of a tiny
    model knows the words of its scenes alone; those of the published LLMs know nearly all.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at some phrases of each training set."""
        spec = spec_of_runner(runner)
        if spec is None or spec.tokenizer is None:
            return
        for dataset in leaves(runner.train_dataloader.dataset):
            words = spelt_words(_phrases(dataset), spec.tokenizer)
            if words:
                more = ", ..." if len(words) > _SHOWN else ""
                print_log(
                    f"{dataset.source}: the tokenizer writes {len(words)} words of its phrases letter by letter "
                    f"({', '.join(map(repr, words[:_SHOWN]))}{more}). The model has to learn what they mean from these data "
                    "alone, which takes more records and a longer training than known words do.",
                    logger="current",
                    level=logging.WARNING,
                )


def leaves(dataset: Any) -> Iterator[Any]:
    """The data sets with records of which a mixture is made, or the data set itself."""
    parts = getattr(dataset, "datasets", None)
    if parts is not None:
        for part in parts:
            yield from leaves(part)
    elif hasattr(dataset, "get_record"):
        yield dataset


def spelt_words(phrases: Iterable[str], tokenizer: Any) -> list[str]:
    """Words that a tokenizer writes in pieces of fewer than two letters on average, each once, in the order of the phrases."""
    words = dict.fromkeys(word for phrase in phrases for word in re.findall(r"[^\W\d_]+", phrase))
    return [
        word
        for word in words
        if len(word) >= _SHORTEST and 2 * len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) > len(word)
    ]


def _phrases(dataset: Any) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _RECORDS)).astype(int)):
        yield from (region.phrase for region in dataset.get_record(int(index), rng).regions)
