"""What a request may say: OpenAI's names, and the few that masks need. What changes nothing is left unread."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError, field_validator

from lira_plugin.serving.api_errors import ApiError

MaskFormat = Literal["rle", "polygons", "png"]
"""How masks are written: COCO's compressed RLE, COCO's polygons, or a PNG in a data URL."""

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_UNREAD = ("user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key")
_MAX_COUNT = 2**31 - 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageUrl(_Strict):
    """Where an image is: a data URL, or an address at a host that is allowed."""

    url: StrictStr
    detail: StrictStr | None = None
    """OpenAI's setting of resolution; the recipe decides here."""


class ContentPart(_Strict):
    """A piece of a message: text or an image."""

    type: Literal["text", "image_url"]
    text: StrictStr | None = None
    image_url: ImageUrl | None = None

    def model_post_init(self, context: Any) -> None:
        """Check that the piece has what its type says, and no more."""
        has = {"text": self.text is not None, "image_url": self.image_url is not None}
        if not has.pop(self.type) or any(has.values()):
            raise ValueError(f"a part of type {self.type!r} has {self.type!r} and nothing else")


class GroundingEntry(BaseModel):
    """A span of an earlier answer, as the server gave it; what a history needs of it is read."""

    start: StrictInt
    end: StrictInt
    mask: Any


class Message(BaseModel):
    """One message; an answer may bring its ``grounding`` along. Further fields have to be null or empty."""

    model_config = ConfigDict(extra="allow")

    role: Literal["user", "assistant", "system", "developer"]
    content: StrictStr | list[ContentPart] | None = None
    name: StrictStr | None = None
    grounding: list[GroundingEntry] | None = None

    def model_post_init(self, context: Any) -> None:
        """Check that there is nothing that the model would not read."""
        unread = [name for name, value in (self.model_extra or {}).items() if value not in (None, [], {})]
        if unread:
            raise ValueError(f"the field {unread[0]!r} of a message cannot be used here")
        if self.grounding and self.role != "assistant":
            raise ValueError("only messages of the assistant have a grounding")


class MaskSettings(_Strict):
    """What both kinds of requests may say of masks."""

    mask_format: MaskFormat = "rle"
    threshold: _Number | None = None
    ilvc: StrictBool | None = None


class StreamOptions(_Strict):
    """OpenAI's settings of streams."""

    include_usage: StrictBool = False
    include_obfuscation: StrictBool = False


class ChatRequest(MaskSettings):
    """A request for the next answer of a chat."""

    model: StrictStr | None = None
    messages: list[Message] = Field(min_length=1)
    max_tokens: Annotated[StrictInt, Field(ge=1, le=_MAX_COUNT)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1, le=_MAX_COUNT)] | None = None
    temperature: Annotated[_Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[_Number, Field(gt=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0, le=_MAX_COUNT)] | None = None
    repetition_penalty: Annotated[_Number, Field(gt=0, le=10)] | None = None
    seed: Annotated[StrictInt, Field(ge=-(2**40), le=2**40)] | None = None
    stop: Annotated[StrictStr, Field(min_length=1)] | list[Annotated[StrictStr, Field(min_length=1)]] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    force: StrictBool = False
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None

    @field_validator("n", "presence_penalty", "frequency_penalty", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return int(value) if isinstance(value, float) and value.is_integer() else value


class SegmentRequest(MaskSettings):
    """A request for the masks of phrases in one image."""

    model: StrictStr | None = None
    image: StrictStr
    phrases: list[Annotated[StrictStr, Field(min_length=1)]] = Field(min_length=1)


def read_request(kind: type[MaskSettings], content: dict[str, Any]) -> Any:
    """Read a request.

    Raises:
        ApiError: it says something that the server does not know, or cannot do.
    """
    read = {name: value for name, value in content.items() if name not in _UNREAD}
    try:
        return kind.model_validate(read)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        deepest = max(
            errors, key=lambda one: len(one["loc"])
        )  # of what may be a text or a list, the one that was meant
        where = ".".join(map(str, deepest["loc"]))
        raise ApiError(400, _described(where, deepest), param=where or None, code="invalid_value") from None
    except RecursionError:
        raise ApiError(400, "the request is nested too deep") from None


def _described(where: str, error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"the server does not know {where!r}, or cannot do what it asks for"
    return f"{where or 'the request'}: {error['msg']}"
