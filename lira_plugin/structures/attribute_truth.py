"""What is true of an object beside what an expression says of it: a category, a location or a colour."""

from typing import Literal, NamedTuple, get_args

AttributeKind = Literal["category", "location", "color"]
ATTRIBUTE_KINDS: tuple[AttributeKind, ...] = get_args(AttributeKind)
"""The kinds of attributes that AttrEval asks for, in its order."""


class AttributeTruth(NamedTuple):
    """An attribute of an object that the expression about it leaves out.

    It is a tuple, by which a store of records tells it from :class:`AnswerTruth`.

    Args:
        kind: of the attribute.
        value: the true one, a value of the lexicon of this kind.
        ann_id: of the object's annotation, where it is known; questions about one object share it.
    """

    kind: AttributeKind
    value: str
    ann_id: int | str | None = None
