"""How the next token of a row is chosen."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Decoding:
    """Settings of generation; the names are those of transformers' ``GenerationConfig``.

    Args:
        max_new_tokens: tokens that the model chooses at most; forced ones and region rows are not counted.
        do_sample: draw from the distribution instead of taking the most probable token.
        temperature, top_k, top_p: of drawing; 0 for ``top_k`` and 1 for the others change nothing.
        repetition_penalty: makes tokens that the answer already holds less probable; 1 changes nothing.
        stop_strings: an answer ends in front of the first of these, looked for in its text with special tokens.
        seed: of drawing. What a request draws depends on it and on the request's place (in its data set, where it has
            one) alone, not on its batch.
        ilvc: False never lets the model ask for a region view.
        force_phrase: open a phrase (`` <p>``) after each view, as answers in training do; False leaves that to the model.
        threshold: foreground probability from which on a pixel belongs to a mask that is given out.
        keep_logits: give the mask logits out too.
        prompt_lookup_num_tokens: tokens that are guessed at most and checked in one pass
            (:mod:`~lira_plugin.models.generation.drafts`); 0 guesses nothing, and neither do sampling and a repetition penalty.
            Answers are the same up to rounding.

    Raises:
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
    prompt_lookup_num_tokens: int = 8

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be positive, got {self.max_new_tokens}")
        if self.temperature <= 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise ValueError(
                "need temperature > 0, top_k >= 0, 0 < top_p <= 1 and repetition_penalty > 0, got "
                f"{self.temperature}, {self.top_k}, {self.top_p} and {self.repetition_penalty}; for the most probable "
                "token leave do_sample=False"
            )
        if self.prompt_lookup_num_tokens < 0:
            raise ValueError(f"prompt_lookup_num_tokens must not be negative, got {self.prompt_lookup_num_tokens}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        words = self.stop_strings
        if isinstance(words, str) or not all(isinstance(word, str) and word for word in words):
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


class TokenChooser:
    """Chooses the tokens of one answer.

    Args:
        decoding: the settings.
        number: of the request, which makes its draws its own.
    """

    def __init__(self, decoding: Decoding, number: int) -> None:
        self.processors = decoding.processors()
        self.random = torch.Generator().manual_seed(decoding.seed * 1_000_003 + number) if decoding.do_sample else None

    @property
    def is_plain(self) -> bool:
        """Whether the highest score is all that counts."""
        return not self.processors and self.random is None

    def __call__(self, scores: Tensor, ids: list[int]) -> int:
        """Choose after the answer ``ids`` with next-token ``scores`` (V,) fp32."""
        if self.processors:
            scores = self.processors(torch.tensor([ids], dtype=torch.long, device=scores.device), scores[None])[0]
        if self.random is None:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1).cpu(), 1, generator=self.random))
