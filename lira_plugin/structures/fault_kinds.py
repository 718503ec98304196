"""What can be wrong with data: one list of kinds, and the error that carries its kind from where it is raised."""

from enum import Enum


class FaultKind(str, Enum):
    """A kind of fault, with what it means. Its value is what reports and JSON files call it."""

    description: str

    def __new__(cls, value: str, description: str) -> "FaultKind":
        """A kind with its description."""
        kind = str.__new__(cls, value)
        kind._value_, kind.description = value, description
        return kind

    def __str__(self) -> str:
        return self.value

    UNREADABLE_FILE = "unreadable_file", "an annotation file is not there, or cannot be read as a whole"
    LAYOUT = (
        "layout",
        "a record is not of its layout: a key is missing, of another type or out of range, or it is no JSON",
    )
    DUPLICATE_KEY = "duplicate_key", "a key occurs several times in one object, of which JSON keeps one"
    NON_FINITE = "non_finite", "a number is NaN or infinite"
    DUPLICATE_ID = (
        "duplicate_id",
        "two captions, images, annotations, categories or refs have one id; records of LLaVA may",
    )
    UNKNOWN_ID = "unknown_id", "an id names an image, annotation or category that is not there, or one of another image"
    OTHER_INPUT = (
        "other_input",
        "a record has an input that its format does not have, or <image> where it must not stand",
    )
    EMPTY_TEXT = "empty_text", "a sentence, caption, question or answer is blank, or a ref has no sentence"
    DUPLICATE_SENTENCE = "duplicate_sentence", "a sentence, caption or conversation about an image is there twice"
    SPECIAL_TOKEN = "special_token", "a text spells a special token of the model or its chat template"
    PHRASE_NOT_IN_CAPTION = "phrase_not_in_caption", "a phrase is not in its caption"
    SPAN_WORDS = "span_words", "the span of a phrase holds other words of the caption"
    SPAN_OUTSIDE = "span_outside", "a span is empty, leaves its caption, or is no pair of positions"
    SPANS_CROSS = "spans_cross", "two spans overlap, and none lies inside of the other"
    SEG_MASK_MISMATCH = (
        "seg_mask_mismatch",
        "a phrase has no mask, a mask no phrase, or a record with phrases no region",
    )
    BAD_RLE = "bad_rle", "an RLE does not decode, or its runs are not the pixels of its size"
    BAD_POLYGON = "bad_polygon", "a polygon has fewer than three points, or not whole pairs of numbers"
    MASK_SIZE = "mask_size", "an RLE is larger or smaller than its image"
    MASK_OUTSIDE = "mask_outside_image", "a polygon reaches beyond its image"
    EMPTY_MASK = "empty_mask", "a mask has no pixel"
    ZERO_AREA_MASK = "zero_area_mask", "a polygon or box has no area"
    TINY_MASK = "tiny_mask", "a mask has no pixel left in the letterboxed square, and is not learnt"
    MISSING_IMAGE = "missing_image", "there is no image file"
    TRUNCATED_IMAGE = "truncated_image", "an image file is cut off"
    UNDECODABLE_IMAGE = "undecodable_image", "a file cannot be read as an image"
    IMAGE_SIZE = "image_size", "an image has another size than is annotated"
    EXIF_ORIENTATION = (
        "exif_orientation",
        "an image has an EXIF orientation that its annotation contradicts, or leaves open",
    )
    OVER_LONG = "over_long", "a sequence is longer than max_length"
    LEAKAGE = "leakage", "an image of the training is also one of val or test"
    UNUSABLE = "unusable", "a record cannot be made a sample for another reason; the message says which"
    BY_RULE = "by_rule", "no fault: a rule of the data set leaves this out (crowds, 'ignore', nested phrases)"


class DataFault(ValueError):
    """Data that cannot be used, and the kind of what is wrong with it."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple:
        return DataFault, (self.kind, str(self))


def kind_of(error: BaseException, default: FaultKind = FaultKind.UNUSABLE) -> FaultKind:
    """The kind of fault that an error is about, its own or that of what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FileNotFoundError):
            return FaultKind.MISSING_IMAGE
        if isinstance(kind := getattr(cause, "kind", None), FaultKind):
            return kind
        cause = cause.__cause__
    return default
