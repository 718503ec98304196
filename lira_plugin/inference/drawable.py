"""Results that draw themselves: in notebooks, in windows and into files."""

import io
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import Visualizer
from PIL import Image

from lira_plugin.visualization import save_image


class Drawable:
    """What can be drawn: a subclass says how, in :meth:`plot`."""

    def plot(self, **options: Any) -> Image.Image:
        """The picture, which notebooks show.

        Raises:
            OSError: the image cannot be read any more.
            ValueError: there is nothing to draw.
        """
        raise NotImplementedError

    def save(self, path: str | Path, **options: Any) -> None:
        """Write the picture; the suffix says the format, and missing folders are made.

        Args:
            path: of the file, such as ``answer.png``.
            options: of :meth:`plot`.

        Raises:
            ValueError: the suffix is of no format that Pillow writes, or see :meth:`plot`.
        """
        save_image(path, np.asarray(self.plot(**options)))

    def show(self, wait_time: float = 0.0, **options: Any) -> None:
        """Show it: in a notebook below the cell, else in a window until a key is pressed or the window is closed.

        Args:
            wait_time: seconds that a window stays at most, 0 for ever.
            options: of :meth:`plot`, in a window.

        Raises:
            RuntimeError: there is no display.
        """
        if (display := _notebook_display()) is not None:
            display(self.plot(**options) if options else self)
            return
        import matplotlib.pyplot as plt  # here: it looks for a display

        if plt.get_backend().lower() == "agg":
            raise RuntimeError("there is no display to show a window on: write the picture with save('answer.png')")
        _window().show(np.asarray(self.plot(**options)), win_name=str(self), wait_time=wait_time)

    def _repr_png_(self) -> bytes | None:
        """The picture for notebooks; None where it cannot be drawn."""
        try:
            picture = self.plot()
        except (OSError, ValueError):
            return None
        return encoded(picture, "PNG")


def encoded(picture: Image.Image, kind: str) -> bytes:
    """A picture as a file of a format that Pillow writes, such as ``PNG``."""
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def _notebook_display() -> Any:
    """IPython's ``display`` where a notebook runs this, else None."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    from IPython.display import display

    return display


@lru_cache(1)
def _window() -> Visualizer:
    """One window for all pictures of a process."""
    return Visualizer()
