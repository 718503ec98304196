"""Ask a trained LIRA about images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps

from lira_plugin.datasets import grounding_collate
from lira_plugin.datasets.base import build_pipeline
from lira_plugin.models import LIRA
from lira_plugin.models.checkpoint import load_into
from lira_plugin.registry import MODELS
from lira_plugin.structures import Conversation, GroundedText, Record, Turn

ImageInput = str | Path | np.ndarray | Image.Image


class LIRAInferencer:
    """A trained model that speaks files, arrays and text.

    Args:
        config: recipe of the model; its ``test_dataloader`` says how images and questions are prepared.
        checkpoint: checkpoint file or work dir; None keeps the weights that the recipe starts from.
        device: where to run, by default a GPU if there is one.

    Raises:
        FileNotFoundError: the checkpoint, or one that the recipe starts from, is not there.
    """

    def __init__(
        self, config: str | Path | Config, checkpoint: str | Path | None = None, device: str | None = None
    ) -> None:
        config = config if isinstance(config, Config) else Config.fromfile(config)
        init_default_scope(config.get("default_scope", "lira_plugin"))
        self.model: LIRA = MODELS.build(config.model)
        if checkpoint is not None:
            load_into(self.model, checkpoint)
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        steps = {name: step for name, step in config.test_dataloader.dataset.pipeline.items() if name != "decode"}
        self.pipeline = build_pipeline(steps)

    def __call__(self, images: ImageInput | Sequence[ImageInput], questions: str | Sequence[str]) -> list[GroundedText]:
        """Answer questions about images, masks at original resolution.

        Args:
            images: one for all questions, or one for each: paths, (H, W, 3) uint8 RGB arrays or PIL images.
            questions: such as ``"Please segment red circle."``.

        Raises:
            ValueError: the numbers of images and questions differ, or an image cannot be read.
        """
        questions = [questions] if isinstance(questions, str) else list(questions)
        one = isinstance(images, str | Path | np.ndarray | Image.Image)
        images = [images] * len(questions) if one else list(images)
        if len(images) != len(questions):
            raise ValueError(f"{len(questions)} questions need as many images, or one for all; got {len(images)}")
        samples = [self._prepare(index, *pair) for index, pair in enumerate(zip(images, questions))]
        return self.model.test_step(grounding_collate(samples))

    def _prepare(self, index: int, image: ImageInput, question: str):
        path = str(image) if isinstance(image, str | Path) else f"image {index}"
        record = Record("inference", str(index), path, Conversation((Turn(question, ""),)))
        return self.pipeline({"record": record, "rng": np.random.default_rng(0), "image": _as_array(image)})


def _as_array(image: ImageInput) -> np.ndarray | None:
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image array must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        return image
    return None
