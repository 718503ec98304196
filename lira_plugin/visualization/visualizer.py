"""MMEngine's visualizer for grounded text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import LocalVisBackend, Visualizer

from lira_plugin.registry import VISUALIZERS
from lira_plugin.structures import GroundedText, Region
from lira_plugin.visualization.answer_picture import answer_picture
from lira_plugin.visualization.figure import MIN_CELL_HEIGHT
from lira_plugin.visualization.overlay import save_image


@VISUALIZERS.register_module()
class GroundingVisualizer(Visualizer):
    """Draws answers: masks over the image, and the text with its phrases in the colours of their masks.

    Small images are enlarged and large ones reduced, so that lines and letters, whose size goes by the picture's, can
    be read in every backend.

    Args:
        name, image, vis_backends, save_dir: as in MMEngine's ``Visualizer``.
        draw_image: show the image without masks too.
        draw_coarse: show coarse masks beside the refined ones.
        draw_gt: show the ground truth where it is given.
        min_side: pixels that the longer side of a picture has at least.
        max_side: pixels that it has at most; None keeps large images as they are.
        font: path of a font to prefer, see :class:`~lira_plugin.visualization.fonts.TextFont`.
        kwargs: further arguments of MMEngine's ``Visualizer``.

    Raises:
        ValueError: ``min_side`` is below ``MIN_CELL_HEIGHT`` or above ``max_side``.
    """

    def __init__(
        self,
        name: str = "visualizer",
        image: np.ndarray | None = None,
        vis_backends: Any = None,
        save_dir: str | None = None,
        *,
        draw_image: bool = False,
        draw_coarse: bool = False,
        draw_gt: bool = True,
        min_side: int = 320,
        max_side: int | None = 640,
        font: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, image, vis_backends, save_dir, **kwargs)
        if not MIN_CELL_HEIGHT <= min_side <= (max_side or min_side):
            raise ValueError(
                f"pictures need {MIN_CELL_HEIGHT} <= min_side <= max_side pixels, got {min_side} and {max_side}"
            )
        self.draw_image, self.draw_coarse, self.draw_gt = draw_image, draw_coarse, draw_gt
        self.min_side, self.max_side, self.font = min_side, max_side, font

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        answer: GroundedText,
        regions: Sequence[Region] = (),
        *,
        question: str = "",
        draw_image: bool | None = None,
        draw_coarse: bool | None = None,
        draw_gt: bool | None = None,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
    ) -> None:
        """Draw an answer and hand the picture to all backends, on the main process.

        Args:
            name: of the picture in the backends.
            image: (H, W, 3) uint8 RGB.
            answer: its masks are (H, W).
            regions: ground truth.
            question: what was asked, written above.
            draw_image, draw_coarse, draw_gt: as in the constructor, for this picture.
            show: open a window too.
            wait_time: seconds that it stays, 0 for ever.
            out_file: write the picture to this file instead of to the backends.
            step: of the training.

        Raises:
            ValueError: the image is not (H, W, 3) uint8, or a mask or annotation does not fit it.
        """
        drawn = self.draw(image, answer, regions, question, draw_image, draw_coarse, draw_gt)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_image(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    def draw(
        self,
        image: np.ndarray,
        answer: GroundedText,
        regions: Sequence[Region] = (),
        question: str = "",
        draw_image: bool | None = None,
        draw_coarse: bool | None = None,
        draw_gt: bool | None = None,
    ) -> np.ndarray:
        """The picture that :meth:`add_datasample` logs, (H', W', 3) uint8 RGB."""
        return answer_picture(
            image,
            answer,
            regions if _either(draw_gt, self.draw_gt) else (),
            question=question,
            draw_image=_either(draw_image, self.draw_image),
            draw_coarse=_either(draw_coarse, self.draw_coarse),
            min_side=self.min_side,
            max_side=self.max_side,
            font=self.font,
        )

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Hand a picture to all backends; on disk, a slash in its name becomes an underscore.

        MMEngine's ``LocalVisBackend`` makes no folders, and would write nothing without a word.
        """
        for backend in self._vis_backends.values():
            local = isinstance(backend, LocalVisBackend)
            backend.add_image(name.replace("/", "_") if local else name, image, step)


def _either(given: bool | None, otherwise: bool) -> bool:
    return otherwise if given is None else given
