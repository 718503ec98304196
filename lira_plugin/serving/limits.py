"""How much the server takes, and how long it works on it."""

from dataclasses import dataclass, fields

from lira_plugin.settings import refuse_type


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how many may wait.

    Args:
        body_bytes: of a request.
        image_bytes: of an image in it, decoded from base64, or fetched.
        pixels: of an image.
        text: characters of all messages together.
        messages: of a request.
        phrases: of a request for masks.
        regions: masks that earlier answers bring along.
        prompt_tokens: positions of a prompt, those of the image among them.
        new_tokens: that an answer may have; what a request asks for beyond is an error.
        waiting: questions that may wait for the model; further ones are sent away for now.
        seconds: that a request may take, the time in the queue included.
        body_seconds: that the body of a request may take to arrive.

    Raises:
        WrongSetting: a limit is of another type.
        ValueError: a limit is not positive.
    """

    body_bytes: int = 30_000_000
    image_bytes: int = 20_000_000
    pixels: int = 16_000_000
    text: int = 32_000
    messages: int = 64
    phrases: int = 64
    regions: int = 64
    prompt_tokens: int = 16_384
    new_tokens: int = 1024
    waiting: int = 256
    seconds: float = 120.0
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            refuse_type(field.name, value, field.type)
            if not value > 0:
                raise ValueError(f"the limit {field.name} must be positive, got {value!r}")
