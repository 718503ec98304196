"""Answers as no model would give them: for comparisons of scorers with plain restatements."""

import random

_PIECES = (
    *(
        "a",
        "an",
        "the",
        "The",
        "dog",
        "dog's",
        "two",
        "none",
        "ten",
        "dont",
        "Im",
        "'twas",
        "is ",
        "are ",
        " of",
        "pizza ",
    ),
    *(
        "3.5",
        ".5",
        "5.",
        "1,000",
        "p.m.",
        "...",
        ".",
        ",",
        "?",
        "!",
        "-",
        " - ",
        "/",
        "(",
        ")",
        "7%",
        "-5",
        "nan",
        "inf",
    ),
    *("None", "null", "yes", "Yes", "no", "No", "NO", "not", "A", "B", "(C)", "D.", "B:", "Because", "I", "E"),
    *("é", "日本", "答案是B", "ß", "İ", "\u00a0", "\u2028", "\n", "\t", " ", "  ", "", "\x00", "😀", "１"),
)


def random_answers(count: int, seed: int = 0) -> list[str]:
    """Empty ones, short ones, and a few of thousands of characters."""
    rng = random.Random(seed)
    lengths = [0, 1, 1, 2, 2, 3, 4, 6, 10]
    answers = [
        rng.choice(["", " "]).join(rng.choice(_PIECES) for _ in range(rng.choice(lengths))) for _ in range(count)
    ]
    return [*answers, ". " * 40 + "x", "no " * 3000, "a" * 20000, "\n" * 50]
