"""What a quickstart shows while it runs: which step of how many, the time that is left, and how well the model points."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.logging import print_log
from tqdm import tqdm

from lira_plugin.quickstart.forked_jobs import LogEnd

_BAR = "{desc}: {percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}{postfix}"
_PRIOR_SECONDS = 10.0
"""How long the first guess of the time left is believed against what is measured."""


@dataclass(frozen=True)
class Step:
    """A part of the run.

    Args:
        title: what it does.
        seconds: how long it takes on two cores that have nothing else to do.
    """

    title: str
    seconds: float


class RunProgress:
    """A progress bar for each step, which says what is left of the whole run; a line of the log where there is no terminal.

    Args:
        steps: of the run, in order.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self._start, self._expected = time.perf_counter(), 0.0
        self._index, self._bar, self._right = -1, tqdm(disable=True), None

    def begin(self, has_bar: bool = True) -> None:
        """The next step begins; the one before is done.

        Args:
            has_bar: False for a step that shows what it does by itself.
        """
        self.end()
        self._index += 1
        title = f"stage {self._index + 1} of {len(self.steps)}, {self.steps[self._index].title}"
        self._bar = tqdm(desc=title, bar_format=_BAR, disable=None if has_bar else True)
        if self._bar.disable:
            print_log(f"{title}: {self._words(0.0)}", logger="current")
        else:
            self._bar.set_postfix_str(self._words(0.0))

    def show(self, ends: Sequence[LogEnd]) -> None:
        """The step runs jobs side by side, whose logs end so: show the one that has most to do yet, of those that say it."""
        slowest = min(ends, key=lambda end: end.done / end.total if end.total else 2.0)
        self._right = next((end.right for end in ends if end.right is not None), self._right)
        if slowest.total:
            self._bar.n, self._bar.total = slowest.done, slowest.total
        words = self._words(slowest.done / slowest.total if slowest.total else 0.0)
        self._bar.set_postfix_str(", ".join(filter(None, [words, slowest.loss])), refresh=False)
        self._bar.refresh()

    def end(self) -> None:
        """The step is done."""
        if self._index >= 0:
            self._expected += self.steps[self._index].seconds
            self._bar.close()

    def left(self, share: float) -> float:
        """Seconds left of the run when this share of the step is done."""
        rest = [step.seconds for step in self.steps[self._index :]]
        done = self._expected + share * rest[0]
        slowness = (time.perf_counter() - self._start + _PRIOR_SECONDS) / (done + _PRIOR_SECONDS)
        return slowness * (sum(rest) - share * rest[0])

    def _words(self, share: float) -> str:
        words = [f"about {clock(self.left(share))} left"]
        if self._right is not None:
            words.append(f"so far it {points_right(self._right)}")
        return ", ".join(words)


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 2:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def points_right(share: float) -> str:
    """How often masks are right, in words."""
    return f"points right in {10 * share:.1f} of 10 cases"
