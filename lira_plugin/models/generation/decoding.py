"""Settings of generation, and how the next token of an answer is chosen."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lira_plugin.settings import refuse_type


@dataclass(frozen=True)
class Decoding:
    """Settings of generation; the names are those of transformers' ``GenerationConfig``.

    Args:
        max_new_tokens: tokens that the model samples at most; forced tokens and views do not count.
        do_sample: draw from the distribution instead of taking the most probable token.
        temperature, top_k, top_p: of drawing; 0 for ``top_k`` and 1 for the others change nothing.
        repetition_penalty: makes tokens that the answer already holds less probable; 1 changes nothing.
        stop_strings: an answer ends in front of the first of these, looked for in its text with special tokens.
        seed: of drawing. What a request draws depends on it and on the request's index (in its data set, where it has
            one) alone, not on its batch.
        ilvc: False never lets the model ask for a view.
        force_phrase: open a phrase (`` <p>``) after each view, as answers in training do; False leaves that to the model.
        threshold: foreground probability from which on a pixel belongs to a mask that is given out.
        keep_logits: give the mask logits out too.

    Raises:
        WrongSetting: a setting is of another type.
        ValueError: a setting is out of its range.
    """

    max_new_tokens: int = 100
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop_strings: tuple[str, ...] = ()
    seed: int = 0
    ilvc: bool = True
    force_phrase: bool = True
    threshold: float = 0.5
    keep_logits: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "stop_strings":
                refuse_type(field.name, getattr(self, field.name), field.type)
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be positive, got {self.max_new_tokens}")
        if (
            not 0 < self.temperature < math.inf
            or self.top_k < 0
            or not 0 < self.top_p <= 1
            or not 0 < self.repetition_penalty < math.inf
        ):
            raise ValueError(
                "need temperature > 0, top_k >= 0, 0 < top_p <= 1 and repetition_penalty > 0, got "
                f"{self.temperature}, {self.top_k}, {self.top_p} and {self.repetition_penalty}; for the most probable "
                "token leave do_sample=False"
            )
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        words = self.stop_strings
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word for word in words):
            raise ValueError(f"stop_strings must be a sequence of texts that are not empty, got {words!r}")
        object.__setattr__(self, "stop_strings", tuple(self.stop_strings))

    def processors(self) -> LogitsProcessorList:
        """transformers' processors for these settings."""
        chain = LogitsProcessorList()
        if self.repetition_penalty != 1:
            chain.append(RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.do_sample:
            if self.temperature != 1:
                chain.append(TemperatureLogitsWarper(self.temperature))
            if self.top_k:
                chain.append(TopKLogitsWarper(self.top_k))
            if self.top_p < 1:
                chain.append(TopPLogitsWarper(self.top_p))
        return chain


def log_probs_of(scores: Tensor, tokens: Tensor) -> Tensor:
    """Log of the probability that next-token ``scores`` (n, V) give to ``tokens`` (n,): (n,) fp32, -inf where scores hold NaN."""
    scores = scores.float()
    found = scores.gather(-1, tokens[:, None])[:, 0] - scores.logsumexp(-1)
    return found.nan_to_num(nan=-math.inf, neginf=-math.inf)


class TokenChooser:
    """Chooses the tokens of one answer.

    Args:
        decoding: the settings.
        draw_index: index of the request, which makes its draws its own.
    """

    def __init__(self, decoding: Decoding, draw_index: int) -> None:
        self.processors = decoding.processors()
        self.random = (
            torch.Generator().manual_seed(decoding.seed * 1_000_003 + draw_index) if decoding.do_sample else None
        )

    @property
    def is_greedy(self) -> bool:
        """Whether the highest score is all that counts."""
        return not self.processors and self.random is None

    def __call__(self, scores: Tensor, ids: list[int]) -> int:
        """Choose after the answer ``ids`` with next-token ``scores`` (V,) fp32.

        Raises:
            FloatingPointError: a token is to be drawn by scores that hold NaN.
        """
        if self.processors:
            scores = self.processors(torch.tensor([ids], dtype=torch.long, device=scores.device), scores[None])[0]
        if self.random is None:
            return int(scores.argmax())
        probabilities = scores.softmax(-1).cpu()
        if not probabilities.isfinite().all():
            raise FloatingPointError(
                "the scores of the next token hold NaN, so none can be drawn: the weights of the model are not finite; take an "
                "earlier checkpoint"
            )
        return int(torch.multinomial(probabilities, 1, generator=self.random))
