"""An answer with the image it is about: it draws itself, and knows what files say of the image."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.inference.drawable import Drawable, encoded
from lira_plugin.inference.inputs import ImageInput, image_pixels
from lira_plugin.structures import GroundedText, MaskStage
from lira_plugin.structures.answer_exports import ExportedImage, coco_file, labelme_file
from lira_plugin.visualization import answer_html, answer_picture, draw_masks


@dataclass(frozen=True, repr=False)
class ImageAnswer(Drawable, GroundedText):
    """A grounded text with its question and image, as the inferencer returns it.

    >>> answer.plot()  # doctest: +SKIP
    >>> answer.save("answer.png", coarse=True)  # doctest: +SKIP

    Args:
        text, spans, raw_text, finished, seg_prob: see :class:`~lira_plugin.structures.GroundedText`.
        question: what was asked.
        name: path or address of the image, or ``image 3``.
        size: (height, width) of the image; None where there is none.
        source: the image. A file is read when it is drawn, so that answers about many files are small.
    """

    question: str = ""
    name: str = ""
    size: tuple[int, int] | None = None
    source: ImageInput | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls, answer: GroundedText, question: str, name: str, source: ImageInput | None, size: tuple[int, int] | None
    ) -> "ImageAnswer":
        """An answer with what it is about."""
        said = {own.name: getattr(answer, own.name) for own in fields(GroundedText)}
        return cls(**said, question=question, name=name, size=size, source=source)

    @property
    def image(self) -> np.ndarray | None:
        """(H, W, 3) uint8, upright; None where there is none.

        Raises:
            OSError: its file is not there any more.
            ValueError: its file cannot be read, or has another size than the answer is about.
        """
        if self.source is None:
            return None
        pixels = image_pixels(self.source)
        if self.size is not None and pixels.shape[:2] != tuple(self.size):
            raise ValueError(f"{self.name} was {self.size} when it was asked about, and is {pixels.shape[:2]} now")
        return pixels

    def plot(
        self,
        *,
        coarse: bool = False,
        draw_image: bool = False,
        min_side: int = 320,
        max_side: int | None = 640,
        font: str | None = None,
    ) -> Image.Image:
        """The image with its masks, and question and answer with phrases in the colours of their masks.

        Args:
            coarse: show the coarse masks beside the refined ones.
            draw_image: show the image without masks too.
            min_side, max_side: pixels that the longer side of the image has at least and at most; None is no limit.
            font: path of a font to prefer.

        Raises:
            OSError: the file of the image is not there any more.
            ValueError: the question came without an image, or its file cannot be read.
        """
        drawn = answer_picture(
            self._needed_image(),
            self,
            question=self.question,
            draw_image=draw_image,
            draw_coarse=coarse,
            min_side=min_side,
            max_side=max_side,
            font=font,
        )
        return Image.fromarray(drawn)

    def overlay(self, stage: MaskStage = "refined", alpha: float = 0.45) -> Image.Image:
        """The image with its masks alone, in its own size.

        Args:
            stage: ``refined`` or ``coarse`` masks.
            alpha: share of the colours in the tint, 0 to 1.

        Raises:
            OSError, ValueError: see :meth:`plot`.
        """
        masks = [span.mask_of(stage) for span in self.spans]
        return Image.fromarray(draw_masks(self._needed_image(), masks, alpha=alpha))

    def to_coco(
        self,
        file_name: str | None = None,
        size: tuple[int, int] | None = None,
        *,
        polygons: bool = False,
        classes: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """As of a :class:`~lira_plugin.structures.GroundedText`; name and size are those of the image unless they are given."""
        name = self.name if file_name is None else file_name
        return super().to_coco(name, size or self.size, polygons=polygons, classes=classes)

    def to_labelme(self, file_name: str | None = None, size: tuple[int, int] | None = None) -> dict[str, Any]:
        """As of a :class:`~lira_plugin.structures.GroundedText`; name and size are those of the image unless they are given.

        An image that came from a file is named without its folder, as the LabelMe file is to lie beside it. Any other is in
        the LabelMe file, as PNG.
        """
        from_file = isinstance(self.source, str | Path)
        is_held = not from_file and self.source is not None
        png = encoded(Image.fromarray(self._needed_image()), "PNG") if is_held else None
        name = (Path(self.name).name if from_file else self.name) if file_name is None else file_name
        return labelme_file(ExportedImage(self.spans, name, size or self.size), png)

    def _repr_html_(self) -> str:
        """Question, answer and picture for notebooks; the picture as JPEG, since notebooks keep the PNG as well."""
        try:
            picture = self.plot()
        except (OSError, ValueError):
            return answer_html(self.question, self)
        jpeg = base64.b64encode(encoded(picture, "JPEG")).decode("ascii")
        return f'{answer_html(self.question, self)}<img src="data:image/jpeg;base64,{jpeg}">'

    def _needed_image(self) -> np.ndarray:
        image = self.image
        if image is None:
            raise ValueError(f"the question {self.question!r} came without an image, so there is nothing to draw")
        return image


def coco_dataset(
    answers: Iterable[ImageAnswer], *, polygons: bool = False, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Answers about any number of images as one COCO file, see :func:`~lira_plugin.structures.answer_exports.coco_file`.

    Args:
        answers: as the inferencer returns them; those about one image are annotations of one image.
        polygons: write outlines, which fill holes; else compressed RLE.
        classes: phrases that are categories, with the ids 1, 2, ...; None takes those of the answers as they come.

    Raises:
        ValueError: an answer came without an image, or a phrase is not among ``classes``.
    """
    images = (ExportedImage(answer.spans, answer.name, answer.size) for answer in answers)
    return coco_file(images, polygons=polygons, classes=classes)
