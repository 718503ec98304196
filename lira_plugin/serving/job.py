"""One question on its way through the server."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lira_plugin.models.generation import Decoding
from lira_plugin.serving.api_errors import ApiError
from lira_plugin.structures import GroundedText, GroundingSample


@dataclass(frozen=True)
class News:
    """What is new of an answer.

    Args:
        piece: text that came; the pieces of an answer add up to its text.
        answer: the answer so far; None where it failed.
        done: whether this is the last news.
        num_tokens: that the model has sampled so far.
        error: why there is no answer.
    """

    piece: str
    answer: GroundedText | None
    done: bool
    num_tokens: int = 0
    error: ApiError | None = None


@dataclass(eq=False)
class Job:
    """A question with its image, ready for the model, and who waits for its answer.

    Args:
        sample: the prompt.
        image_key: names the image; the encoding is shared by the questions about it.
        decoding: settings of generation.
        client: whose it is; clients take turns.
        deadline: by :func:`time.monotonic`, after which nobody waits.
        tell: is called with the news, from the thread of the model.
        in_pieces: whether news are wanted before the answer is done.
    """

    sample: GroundingSample
    image_key: str
    decoding: Decoding
    client: str
    deadline: float
    tell: Callable[[News], None]
    in_pieces: bool = False
    created: float = field(default_factory=time.monotonic)
    first_news: float | None = None
    """When the first token or mask came."""
    num_told: int = 0
    """Characters of the answer that were told."""
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self.deadline

    @property
    def is_over(self) -> bool:
        """Whether the last news were told, or nobody waits for them."""
        return self._over.is_set()

    def is_abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._over.is_set() or self.is_late

    def give_up(self) -> None:
        """The client has gone."""
        self._over.set()

    def fail(self, error: ApiError) -> None:
        """Tell that there will be no answer."""
        if not self._over.is_set():
            self._over.set()
            self.tell(News("", None, True, error=error))

    def progress(self, answer: GroundedText, done: bool, num_tokens: int) -> None:
        """Tell what has come; where an answer was begun anew, nothing is told twice."""
        if self.first_news is None:
            self.first_news = time.monotonic()
        if self._over.is_set() or not (done or self.in_pieces):
            return
        piece = answer.text[self.num_told :]
        self.num_told = max(self.num_told, len(answer.text))
        if done:
            self._over.set()
        self.tell(News(piece, answer, done, num_tokens))
