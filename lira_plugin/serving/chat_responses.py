"""Answers as OpenAI's clients read them, with the masks of their phrases."""

import time
from collections.abc import Iterator
from typing import Any

from lira_plugin.serving.chat_schema import MaskFormat
from lira_plugin.serving.job import News
from lira_plugin.serving.mask_formats import span_json
from lira_plugin.structures import GroundedSpan, GroundedText


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """What was read and written. Positions of an image are tokens of the prompt."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def grounding_json(answer: GroundedText, mask_format: MaskFormat) -> list[dict[str, Any]]:
    """The spans of an answer."""
    return [span_json(index, span, mask_format) for index, span in enumerate(answer.spans)]


class ChatResponse:
    """Writes one answer, as a whole or in chunks.

    Args:
        request_id: of the request.
        model: name of the model.
        mask_format: how masks are written.
        prompt_tokens: of the prompt.
        with_usage: end a stream with its usage.
    """

    def __init__(
        self, request_id: str, model: str, mask_format: MaskFormat, prompt_tokens: int, with_usage: bool = False
    ) -> None:
        self.head = {"id": f"chatcmpl-{request_id}", "created": int(time.time()), "model": model}
        self.mask_format, self.prompt_tokens, self.with_usage = mask_format, prompt_tokens, with_usage
        self._told: dict[int, GroundedSpan] = {}

    def whole(self, news: News) -> dict[str, Any]:
        """The answer as one object."""
        message = {
            "role": "assistant",
            "content": news.answer.text,
            "refusal": None,
            "grounding": grounding_json(news.answer, self.mask_format),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(news.answer)}
        said = usage(self.prompt_tokens, news.num_tokens)
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": said}

    def opening(self) -> dict[str, Any]:
        """The first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunks(self, news: News) -> Iterator[dict[str, Any]]:
        """What is new; a span is told again whenever it has changed, with the same ``index``."""
        delta: dict[str, Any] = {}
        if news.piece:
            delta["content"] = news.piece
        spans = news.answer.spans
        changed = [index for index in range(len(spans)) if self._is_new(index, spans[index], news.done)]
        if changed:
            delta["grounding"] = [span_json(index, spans[index], self.mask_format) for index in changed]
            self._told |= {index: spans[index] for index in changed}
        if delta:
            yield self._chunk(delta)
        if news.done:
            yield self._chunk({}, _reason(news.answer))
            if self.with_usage:
                said = usage(self.prompt_tokens, news.num_tokens)
                yield {**self._chunk({}), "choices": [], "usage": said}

    def _is_new(self, index: int, span: GroundedSpan, is_last: bool) -> bool:
        told = self._told.get(index)
        if told is None or told.refined != span.refined or (told.coarse_mask is None) != (span.coarse_mask is None):
            return True
        return is_last and (told.start, told.end, told.score) != (span.start, span.end, span.score)

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self.head, "object": "chat.completion.chunk", "choices": [choice]}


def _reason(answer: GroundedText) -> str:
    return "stop" if answer.finished else "length"
