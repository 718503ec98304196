"""From what a request says to questions that are ready for the model, off the model's thread."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lira_plugin.inference import LIRAInferencer, Prompt
from lira_plugin.models.generation import Decoding
from lira_plugin.serving.api_errors import ApiError
from lira_plugin.serving.chat_prompts import history_of, read_chat
from lira_plugin.serving.chat_schema import ChatRequest, MaskSettings, SegmentRequest
from lira_plugin.serving.image_sources import ImageSource
from lira_plugin.serving.limits import Limits
from lira_plugin.structures import GroundedText, GroundingSample, refer_question
from lira_plugin.web.received_image import read_received

_NO_IMAGE = "no image"
_MAX_STOPS, _MAX_STOP = 8, 64
"""Stop strings, and characters of one."""


@dataclass(frozen=True)
class Prepared:
    """A question that is ready.

    Args:
        sample: the prompt.
        image_key: names its image.
        decoding: settings of generation.
    """

    sample: GroundingSample
    image_key: str
    decoding: Decoding


class Preparation:
    """Makes questions ready. Several threads may use it.

    Args:
        limits: how much a request may bring.
        images: where images come from.
    """

    def __init__(self, limits: Limits, images: ImageSource) -> None:
        self.limits, self.images = limits, images
        self._pipeline = threading.Lock()  # tokenizers may be used by one thread at a time

    def chat(self, lira: LIRAInferencer, defaults: Decoding, request: ChatRequest) -> Prepared:
        """The question that a chat ends with.

        Raises:
            ApiError: it cannot be asked.
        """
        decoding = chat_decoding(defaults, request, self.limits)
        prompt = read_chat(request.messages, self.limits)
        pixels, key = self._image(prompt.image_url)
        history = history_of(prompt.turns, None if pixels is None else pixels.shape[:2], self.limits.pixels)
        return self._prepared(lira, Prompt(key, pixels, prompt.question), key, decoding, history, request.force)

    def segment(self, lira: LIRAInferencer, defaults: Decoding, request: SegmentRequest) -> list[Prepared]:
        """A question for each phrase, whose answer is its mask.

        Raises:
            ApiError: they cannot be asked.
        """
        phrases, limit = request.phrases, self.limits
        if len(phrases) > limit.phrases:
            raise ApiError(400, f"{len(phrases)} phrases are more than {limit.phrases}", param="phrases")
        if sum(map(len, phrases)) > limit.text:
            raise ApiError(400, f"the phrases have more than {limit.text} characters", param="phrases")
        if not all(phrase.strip(" .") and _is_text(phrase) for phrase in phrases):
            raise ApiError(400, "each phrase must name an object", param="phrases")
        decoding = _changed(defaults, mask_settings(request))
        pixels, key = self._image(request.image)
        prompts = [Prompt(key, pixels, refer_question(phrase)) for phrase in phrases]
        return [self._prepared(lira, prompt, key, decoding, (), True) for prompt in prompts]

    def _image(self, url: str | None) -> tuple[np.ndarray | None, str]:
        """Pixels (H, W, 3) uint8 and the key of an image."""
        if url is None:
            return None, _NO_IMAGE
        content = self.images.read(url)
        try:
            pixels = read_received(content, self.limits.pixels, "server")
        except ValueError as error:
            raise ApiError(400, str(error), param="image_url", code="invalid_image") from None
        return pixels, f"image-{hashlib.blake2b(content, digest_size=20).hexdigest()}"

    def _prepared(
        self,
        lira: LIRAInferencer,
        prompt: Prompt,
        key: str,
        decoding: Decoding,
        history: Sequence[tuple[str, GroundedText]],
        force: bool,
    ) -> Prepared:
        try:
            with self._pipeline:
                sample = lira.sample(prompt, ilvc=decoding.ilvc, force=force, history=history)
        except ValueError as error:
            raise ApiError(400, f"the question cannot be asked: {error}", param="messages") from None
        if len(sample.input_ids) > self.limits.prompt_tokens:
            raise ApiError(
                400,
                f"the prompt has {len(sample.input_ids)} tokens, the server takes {self.limits.prompt_tokens} at most",
                param="messages",
                code="context_length_exceeded",
            )
        return Prepared(sample, key, decoding)


def chat_decoding(defaults: Decoding, request: ChatRequest, limits: Limits) -> Decoding:
    """The settings that a request asks for; those that it does not name are the model's.

    Raises:
        ApiError: one is out of its range.
    """
    settings: dict[str, Any] = mask_settings(request)
    for name in ("top_p", "top_k", "seed", "repetition_penalty"):
        if getattr(request, name) is not None:
            settings[name] = getattr(request, name)
    if request.temperature is not None:
        settings["do_sample"] = request.temperature > 0
        if request.temperature > 0:
            settings["temperature"] = float(request.temperature)
    asked = request.max_completion_tokens or request.max_tokens
    if asked is not None:
        if asked > limits.new_tokens:
            raise ApiError(400, f"an answer may have {limits.new_tokens} tokens at most", param="max_tokens")
        settings["max_new_tokens"] = asked
    if request.stop is not None:
        stops = [request.stop] if isinstance(request.stop, str) else request.stop
        if len(stops) > _MAX_STOPS or not all(len(stop) <= _MAX_STOP and _is_text(stop) for stop in stops):
            raise ApiError(400, f"stop takes {_MAX_STOPS} texts of {_MAX_STOP} characters at most", param="stop")
        settings["stop_strings"] = tuple(stops)
    return _changed(defaults, settings)


def mask_settings(request: MaskSettings) -> dict[str, Any]:
    """What a request says of masks, as settings of generation."""
    given = {"threshold": request.threshold, "ilvc": request.ilvc}
    return {name: value for name, value in given.items() if value is not None}


def _changed(defaults: Decoding, settings: dict[str, Any]) -> Decoding:
    try:
        return replace(defaults, **settings)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _is_text(text: str) -> bool:
    """Whether it has no half of a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
