"""AttrEval's questions about an object, to the letter: is it so, yes or no?"""

import re

from lira_plugin.structures.attribute_truth import AttributeKind

YES_OR_NO = "Please answer yes or no."
"""What ends a question of AttrEval-VQA (supplement, section 4)."""
_PLURAL = re.compile(r".*[^su]s")  # scissors and skis, not glass and bus
_VOWEL = re.compile(r"(?!uni|use|eu|one\b)[aeiou]")
_LOCATED = {"left": "on the", "right": "on the", "top": "at the", "bottom": "at the"}


def attribute_question(expression: str, kind: AttributeKind, value: str) -> str:
    """AttrEval-VQA's question whether an object has a value.

    Args:
        expression: about the object, which does not say the value.
        kind: of the attribute.
        value: that it may have.

    Returns:
        "Is the front guy in red? Please answer yes or no.", "Is the silver car on the left? ...", "Is the red one a car? ...".
    """
    if kind == "color":
        said = f"in {value}"
    elif kind == "location":
        said = f"{_LOCATED.get(value, 'in the')} {value}"
    else:
        said = f"{_article(value)}{value}"
    expression = expression.strip().rstrip("?.!, ")
    article = "" if expression.startswith(("the ", "a ", "an ", "his ", "her ", "their ")) else "the "
    return f"Is {article}{expression} {said}? {YES_OR_NO}"


def _article(name: str) -> str:
    if _PLURAL.fullmatch(name):
        return ""
    return "an " if _VOWEL.match(name) else "a "
