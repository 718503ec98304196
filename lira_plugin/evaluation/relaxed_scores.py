"""Relaxed accuracy of ChartQA: numbers may be five percent off."""

RELAXED_SHARE = 0.05
"""By which a number may differ from the true one, as a share of it."""


def relaxed_match(answer: str, label: str) -> bool:
    """Whether an answer is right, as Pix2Struct's and InternVL's ``relaxed_correctness`` says.

    Two numbers must differ by at most 5 % of the label; ``7%`` is the number 0.07. Where the label is 0, or one of the two is no
    number, the texts must be equal but for capitals. Spaces around the answer do not count.
    """
    text = answer.strip()
    said, true = _to_float(text), _to_float(label)
    if said is not None and true:
        return abs(said - true) / abs(true) <= RELAXED_SHARE
    return text.lower() == label.lower()


def _to_float(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
