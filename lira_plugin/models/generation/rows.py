"""The state machine of one answer.

::

    SAMPLING --- <image_id> ---> WAITING --- view encoded, <p> forced ---> SAMPLING --- end, stop or limit ---> DONE
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lira_plugin.models.generation.decoding import Decoding, TokenChooser
from lira_plugin.models.generation.drafts import PromptLookup
from lira_plugin.models.generation.masks import ImageMask
from lira_plugin.structures import Letterbox
from lira_plugin.tokens import SpecialTokenIds

_FIRST_GUESSES = 2


class Phase(Enum):
    """What a row does next."""

    SAMPLING = auto()
    WAITING = auto()
    DONE = auto()


class Prefix(NamedTuple):
    """The start of a prompt that others have too, such as the visual block of an image that several questions are about."""

    key: Hashable
    rows: int


@dataclass(frozen=True, eq=False)
class Request:
    """One prompt.

    Args:
        embeddings: (n, H) of the prompt, features included and unused object rows left out.
        image: (H, W, 3) uint8 to cut views from, or None for text only.
        letterbox: its geometry.
        features: names the features of the image to :meth:`Grounder.decode_masks`.
        prefix: requests with the same key have equal first ``rows`` rows, which are then run once for all of them.
        forced_ids: tokens that the answer begins with, whatever the model would choose.
        closed: the answer ends where ``forced_ids`` end: masks for a given text.
        decoding: settings of this request, or None for those of the generator.
        prompt_ids: tokens of the prompt's text, where words of the answer are looked up to guess at what follows them.
        draw: number of its random draws, or None for the place of the request.

    Raises:
        ValueError: the prompt is empty, or the prefix leaves nothing of it.
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
    draw: int | None = None

    def __post_init__(self) -> None:
        rows = len(self.embeddings)
        if not rows:
            raise ValueError("a prompt needs at least one row, got none")
        if self.prefix is not None and not 0 < self.prefix.rows < rows:
            raise ValueError(
                f"a prefix must hold at least one row and leave one of the prompt, got {self.prefix.rows} of {rows} rows"
            )


@dataclass(eq=False)
class Row:
    """State of one answer.

    Args:
        request: what is asked.
        number: its place among all requests.
        decoding: the settings that hold for it.
        choose: picks tokens.
        slot: its place in the KV cache.
        feed: (n, H) rows to be run next.
        draft: guesses of the tokens after ``ids``; the last rows of ``feed``.
        hint: the first guess, whether it is run or not.
        trust: how many guesses are run at most, two at first; doubled where the first was right, and halved where it was wrong.
        segs: ``<seg>`` tokens in ``feed``: (row of ``feed``, place in ``ids``).
        script: tokens to be forced next.
        ids: tokens of the answer.
        states: (H,) hidden state of each ``<seg>`` that was run, by place in ``ids``.
        masks: those that were decoded, by place in ``ids``.
        chosen: tokens that the model chose.
        finished: whether the answer came to an end, and not to the limit.
        tail: text behind ``ids``: the start of a token that a stop string begins in.
    """

    request: Request
    number: int
    decoding: Decoding
    choose: TokenChooser
    slot: int
    feed: Tensor
    draft: list[int] = field(default_factory=list)
    hint: list[int] = field(default_factory=list)
    trust: int = field(init=False)
    segs: list[tuple[int, int]] = field(default_factory=list)
    phase: Phase = Phase.SAMPLING
    script: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    states: dict[int, Tensor] = field(default_factory=dict)
    masks: dict[int, ImageMask] = field(default_factory=dict)
    chosen: int = 0
    finished: bool = False
    tail: str = ""

    def __post_init__(self) -> None:
        self.lookup = PromptLookup(self.request.prompt_ids)
        self.trust = min(_FIRST_GUESSES, self.decoding.prompt_lookup_num_tokens)

    @property
    def undecoded(self) -> list[int]:
        """Places of the ``<seg>`` tokens that have a state but no mask yet."""
        if self.request.letterbox is None:
            return []
        return [place for place in self.states if place not in self.masks]

    def stop(self, ids: list[int], tail: str) -> None:
        """End the answer after some of its tokens, and some characters of the next."""
        self.ids, self.tail = ids, tail
        self.states = {place: state for place, state in self.states.items() if place < len(ids)}
        self.masks = {place: mask for place, mask in self.masks.items() if place < len(ids)}
        self.phase, self.finished = Phase.DONE, True

    def take_script(self, special: SpecialTokenIds) -> list[int]:
        """Write the forced tokens that can be run in one go: up to a ``<image_id>``, which waits for the mask before it."""
        end = self.script.index(special.image_id) if special.image_id in self.script else len(self.script)
        taken, self.script = self.script[:end], self.script[end:]
        self.ids += taken
        return taken

    def advance(self, token: int | None, special: SpecialTokenIds, end_id: int) -> list[int]:
        """Make the transition after a pass.

        Args:
            token: what the model chose; None while there is a script, or where the answer is over.
            special: special token ids.
            end_id: token that ends an answer.

        Returns:
            The tokens to be run next; empty while waiting or done.
        """
        if token is None:
            if not self.script:
                self.phase, self.finished = Phase.DONE, self.request.closed
                return []
            first = self.script[0]
            if first == special.image_id:
                return self._view(self.script.pop(0))
            return self.take_script(special)
        self.chosen += 1
        if token == end_id:
            self.phase, self.finished = Phase.DONE, True
            return []
        if self.chosen == self.decoding.max_new_tokens and token != special.seg:
            self.ids.append(token)
            self.phase = Phase.DONE
            return []
        if token == special.image_id:
            return self._view(token)
        self.ids.append(token)
        return [token]

    def _view(self, image_id: int) -> list[int]:
        self.ids.append(image_id)
        if self.request.image is None:
            return [image_id]
        self.phase = Phase.WAITING
        return []

    @property
    def wants_choice(self) -> bool:
        """Whether the model is to choose the next token."""
        return not self.script and not self.request.closed and self.chosen < self.decoding.max_new_tokens

    def guess(self, guesses: list[int]) -> None:
        """Take what may follow; as many of them as the last ones deserve are to be run."""
        self.hint, self.draft = guesses[:1], guesses[: self.trust]

    def judge(self, token: int) -> None:
        """Compare the first guess, if there was any, with the token that was chosen."""
        if self.hint:
            doubled = min(max(1, 2 * self.trust), self.decoding.prompt_lookup_num_tokens)
            self.trust = doubled if self.hint == [token] else self.trust // 2
        self.hint = []

    @property
    def room_for_guesses(self) -> int:
        """How many tokens may be guessed, so that the one chosen behind them is still within the limit; 0 for a row that is
        not to guess."""
        if not self.choose.is_plain:
            return 0
        return min(self.decoding.prompt_lookup_num_tokens, self.decoding.max_new_tokens - self.chosen - 1)

    def skip(self, rows: int) -> None:
        """Take the first rows, which the cache holds already, off what is to be run."""
        self.feed = self.feed[rows:]
        self.segs = [(place_in_feed - rows, place) for place_in_feed, place in self.segs]
