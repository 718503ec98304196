"""Requests, and what Algorithm 1 knows of an answer so far.

::

    SAMPLING --- <image_id> ---> AWAITING_VIEW --- view and " <p>" appended ---> SAMPLING
    SAMPLING --- the last <seg> of the answer ---> CLOSING --- it was run ---> DONE
    SAMPLING --- stop rule ---> DONE
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lira_plugin.models.generation.decoding import Decoding, TokenChooser
from lira_plugin.models.generation.image_masks import ImageMask
from lira_plugin.structures import Letterbox, WordLogProbs


class Phase(Enum):
    """What an answer does next."""

    SAMPLING = auto()
    """Its pending positions are run, and the next token is forced or sampled."""
    AWAITING_VIEW = auto()
    """It ends with an ``<image_id>``, and the view of its latest mask is to be appended."""
    CLOSING = auto()
    """It is complete, but its last ``<seg>`` is still to be run, for the mask."""
    DONE = auto()


class Prefix(NamedTuple):
    """The start of a prompt that other prompts share, such as the visual block of an image that several questions are about."""

    key: Hashable
    length: int


@dataclass(frozen=True, eq=False)
class Request:
    """One prompt.

    Args:
        embeddings: (n, H) of the prompt, features included and unused object tokens left out.
        image: (H, W, 3) uint8 to cut views from, or None for text only.
        letterbox: its geometry.
        features: what :meth:`Grounder.decode_masks` takes to find the features of the image.
        prefix: requests with the same key have the same first ``length`` positions, which are run once for all of them.
        forced_ids: tokens that the answer begins with, whatever the model would sample.
        closed: the answer ends where ``forced_ids`` end: masks for a given text.
        decoding: settings of this request; None takes those of the generator.
        prompt_ids: tokens of the prompt's text, for prompt lookup.
        draw_index: seeds the random draws of this request together with ``Decoding.seed``; None takes the index of the request.
        in_pieces: news are wanted while the answer is written; False tells of it at its end, and decodes the masks that no view
            needs then.
        is_abandoned: asked before each pass; the answer ends there once it says True. None never ends it.

    Raises:
        ValueError: the prompt is empty, the prefix leaves nothing of it, or a closed answer has no text.
    """

    embeddings: Tensor
    image: np.ndarray | None
    letterbox: Letterbox | None
    features: Any
    prefix: Prefix | None = None
    forced_ids: tuple[int, ...] = ()
    closed: bool = False
    decoding: Decoding | None = None
    prompt_ids: tuple[int, ...] = ()
    draw_index: int | None = None
    in_pieces: bool = True
    is_abandoned: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        length = len(self.embeddings)
        if not length:
            raise ValueError("a prompt needs at least one position, got none")
        if self.closed and not self.forced_ids:
            raise ValueError("closed=True needs the tokens of the answer in forced_ids, got none")
        if self.prefix is not None and not 0 < self.prefix.length < length:
            raise ValueError(
                f"a prefix must hold at least one position and leave one of the prompt, got {self.prefix.length} of {length}"
            )


@dataclass(eq=False)
class AnswerState:
    """What Algorithm 1 knows of one answer.

    Args:
        request: what is asked.
        request_index: index of the request among all.
        decoding: the settings that hold for it.
        choose: samples tokens.
        slot: its slot in the KV cache.
        pending_embeds: (n, H) positions to be run next.
        pending_segs: ``<seg>`` tokens among them: (index in ``pending_embeds``, index in ``ids``).
        proposed: guesses of the tokens after ``ids``; they are the last of ``pending_embeds``.
        forced_tokens: tokens to be written next, whatever the model would sample.
        ids: tokens of the answer.
        seg_states: (H,) hidden state of each ``<seg>`` that was run, by index in ``ids``.
        seg_words: log probabilities of words at each of them, where they were asked for, by index in ``ids``.
        masks: those that were decoded, by index in ``ids``.
        log_probs: log of the probability that the model gave to each token that it sampled, by index in ``ids``. It is of the
            logits as they are: temperature, cuts and repetition penalty of the settings do not change it.
        num_sampled: tokens that the model sampled; forced tokens and views do not count.
        finished: whether the answer came to an end, and not to the limit.
        seg_prob: probability of a grounded phrase at the first token; None before it was sampled, or where it was forced.
        partial_text: text behind ``ids``: the start of a token in which a stop string begins.
    """

    request: Request
    request_index: int
    decoding: Decoding
    choose: TokenChooser
    slot: int
    pending_embeds: Tensor
    pending_segs: list[tuple[int, int]] = field(default_factory=list)
    proposed: list[int] = field(default_factory=list)
    forced_tokens: list[int] = field(default_factory=list)
    phase: Phase = Phase.SAMPLING
    ids: list[int] = field(default_factory=list)
    seg_states: dict[int, Tensor] = field(default_factory=dict)
    seg_words: dict[int, WordLogProbs] = field(default_factory=dict)
    masks: dict[int, ImageMask] = field(default_factory=dict)
    log_probs: dict[int, float] = field(default_factory=dict)
    num_sampled: int = 0
    finished: bool = False
    seg_prob: float | None = None
    partial_text: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to run."""
        return self.phase is Phase.DONE

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a view."""
        return self.phase is Phase.AWAITING_VIEW

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.request.is_abandoned is not None and self.request.is_abandoned()

    @property
    def wants_sample(self) -> bool:
        """Whether the model is to choose the next token."""
        return self.phase is Phase.SAMPLING and not self.forced_tokens

    @property
    def undecoded(self) -> list[int]:
        """Indices in ``ids`` of the ``<seg>`` tokens that have a state but no mask yet."""
        if self.request.letterbox is None:
            return []
        return [index for index in self.seg_states if index not in self.masks]

    def end(self, finished: bool) -> None:
        """Nothing more is to be written or run."""
        self.phase, self.finished, self.forced_tokens = Phase.DONE, finished, []

    def abandon(self) -> None:
        """Nobody waits for the answer: it ends, and no mask is decoded for it any more."""
        self.end(finished=False)
        self.seg_states.clear()

    def close(self, finished: bool) -> None:
        """No token follows, but the pending ones are still to be run."""
        self.phase, self.finished = Phase.CLOSING, finished

    def cut(self, ids: list[int], partial_text: str) -> None:
        """Keep the first tokens ``ids`` of the answer, and some characters of the next one."""
        self.ids, self.partial_text = ids, partial_text
        self.seg_states = {index: state for index, state in self.seg_states.items() if index < len(ids)}
        self.seg_words = {index: words for index, words in self.seg_words.items() if index < len(ids)}
        self.masks = {index: mask for index, mask in self.masks.items() if index < len(ids)}
        self.log_probs = {index: value for index, value in self.log_probs.items() if index < len(ids)}

    def skip(self, length: int) -> None:
        """Take the first positions, which the cache holds already, off what is to be run."""
        self.pending_embeds = self.pending_embeds[length:]
        self.pending_segs = [(position - length, index) for position, index in self.pending_segs]
