"""Exact match of GQA, by LIRA's extraction (InternVL's ``evaluate_vqa.py``) and by the official rule."""


def extract_gqa(answer: str) -> str:
    """The word or phrase that LIRA's script takes out of an answer.

    What stands before the first period, comma or exclamation mark, in small letters. Then for ``is``, ``are``, ``a``, ``an`` and
    ``the``, each followed by a space, what stands between its first two occurrences, or after the only one. At last what stands
    before ``of``. It looks at letters, not at words: ``pizza box`` becomes ``box``.
    """
    text = answer.strip()
    for mark in (".", ",", "!"):
        text = text.split(mark)[0]
    text = text.lower()
    for word in ("is ", "are ", "a ", "an ", "the "):
        if word in text:
            text = text.split(word)[1]
    return text.split(" of")[0].strip()


def gqa_match(answer: str, label: str) -> bool:
    """Whether the extracted answer equals the label, in small letters and without spaces around them."""
    return extract_gqa(answer) == label.strip().lower()


def gqa_match_official(answer: str, label: str) -> bool:
    """Whether the whole answer equals the label, as GQA's ``eval.py``.

    Periods at the end go and letters become small before, as in the conversion of LLaVA and InternVL for that program.
    """
    return answer.strip().rstrip(".").lower() == label.strip().lower()
