"""From the messages of a chat to what is asked, and what was asked before."""

from collections.abc import Sequence
from dataclasses import dataclass

from lira_plugin.serving.api_errors import ApiError
from lira_plugin.serving.chat_schema import GroundingEntry, Message
from lira_plugin.serving.limits import Limits
from lira_plugin.serving.mask_formats import read_mask
from lira_plugin.structures import GroundedSpan, GroundedText


@dataclass(frozen=True)
class Turn:
    """An earlier question with its answer."""

    question: str
    answer: str
    grounding: tuple[GroundingEntry, ...]


@dataclass(frozen=True)
class ChatPrompt:
    """What a chat asks.

    Args:
        question: the last message.
        turns: those before it.
        image_url: of the image that all of it is about; None without one.
    """

    question: str
    turns: tuple[Turn, ...]
    image_url: str | None


def read_chat(messages: Sequence[Message], limits: Limits) -> ChatPrompt:
    """Read the messages of a chat.

    Raises:
        ApiError: they are no chat that the model can go on with.
    """
    if len(messages) > limits.messages:
        raise _wrong(f"a chat may have {limits.messages} messages at most, this one has {len(messages)}")
    if any(message.role in ("system", "developer") and _text(message).strip() for message in messages):
        raise _wrong("the model reads no system message: say what you want in the message of the user")
    spoken = [message for message in messages if message.role in ("user", "assistant")]
    texts = [_text(message) for message in spoken]
    _check_texts(texts, limits)
    for index, message in enumerate(spoken):
        if message.role != ("assistant" if index % 2 else "user"):
            raise _wrong("messages of the user and of the assistant must take turns, the user begins")
    if len(spoken) % 2 == 0:
        raise _wrong("the last message must be the user's")
    if sum(len(message.grounding or ()) for message in spoken) > limits.regions:
        raise _wrong(f"earlier answers may bring {limits.regions} masks at most")
    turns = [
        Turn(question, answer, tuple(message.grounding or ()))
        for question, answer, message in zip(texts[:-1:2], texts[1::2], spoken[1::2])
    ]
    return ChatPrompt(texts[-1], tuple(turns), _image_url(spoken))


def history_of(turns: Sequence[Turn], size: tuple[int, int] | None, max_pixels: int) -> list[tuple[str, GroundedText]]:
    """Earlier turns as an inferencer takes them.

    Args:
        turns: the turns.
        size: (height, width) of the image; None without one.
        max_pixels: of a mask.

    Raises:
        ApiError: a mask or its phrase is not of this image or text.
    """
    history = []
    for turn in turns:
        spans = []
        for entry in sorted(turn.grounding, key=lambda entry: entry.start):
            previous = spans[-1].end if spans else 0
            if size is None:
                raise _wrong("earlier answers have masks, but the chat has no image")
            if not previous <= entry.start <= entry.end <= len(turn.answer):
                raise _wrong(f"the grounding says {entry.start} to {entry.end}, which is no piece of its text")
            try:
                mask = read_mask(entry.mask, *size, max_pixels)
            except ValueError as error:
                raise _wrong(f"the mask of an earlier answer cannot be read: {error}") from None
            spans.append(GroundedSpan(entry.start, entry.end, turn.answer[entry.start : entry.end], mask))
        history.append((turn.question, GroundedText(turn.answer, tuple(spans))))
    return history


def _text(message: Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    return "\n".join(part.text for part in message.content if part.text is not None)


def _check_texts(texts: Sequence[str], limits: Limits) -> None:
    if not texts or not all(text.strip() for text in texts):
        raise _wrong("each message needs a text")
    length = sum(map(len, texts))
    if length > limits.text:
        raise _wrong(f"the messages have {length} characters, the server takes {limits.text} at most")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise _wrong("a text has half a character (a lone surrogate); write it anew") from None


def _image_url(messages: Sequence[Message]) -> str | None:
    parts = [(message, part) for message in messages if isinstance(message.content, list) for part in message.content]
    images = [(message, part.image_url.url) for message, part in parts if part.image_url is not None]
    if any(message.role != "user" for message, _ in images):
        raise _wrong("only messages of the user have an image")
    urls = {url for _, url in images}
    if len(urls) > 1:
        raise _wrong(f"the model looks at one image, and the chat has {len(urls)}: ask about each in a chat of its own")
    return next(iter(urls), None)


def _wrong(message: str) -> ApiError:
    return ApiError(400, message, param="messages", code="invalid_messages")
