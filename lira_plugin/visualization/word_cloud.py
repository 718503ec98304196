"""Words drawn the larger the more often they are there, as in the paper's Fig. 4. Needs the extra ``attreval``."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from lira_plugin.visualization.fonts import DEFAULT_FONT
from lira_plugin.visualization.overlay import palette

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_SMALL_WORDS = """
a an and are at be behind by for from has he her his i in is it its me my next of on or our she that the their there they this to
under us we with you your
"""
"""Words that say nothing of an object."""


def word_counts(texts: Iterable[str]) -> Counter[str]:
    """How often each word is in texts, in lower case, without small words such as "the"."""
    small = _SMALL_WORDS.split()
    words = (word for text in texts for word in _WORD.findall(text.lower()))
    return Counter(word for word in words if word not in small)


def draw_word_cloud(
    counts: Mapping[str, int],
    *,
    width: int = 1200,
    height: int = 700,
    max_words: int = 150,
    seed: int = 0,
    font: str | None = None,
) -> np.ndarray:
    """Draw words, the size of each by its count.

    Args:
        counts: by word, which may hold spaces.
        width, height: of the picture in pixels.
        max_words: the most frequent words are drawn.
        seed: of where they lie and of their colours.
        font: path of a font; by default that of the other pictures.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ImportError: the package ``wordcloud`` is not installed.
        ValueError: there is no word.
    """
    try:
        from wordcloud import WordCloud
    except ImportError as error:
        raise ImportError(
            "a word cloud needs the package 'wordcloud': pip install 'lira-plugin[attreval]', or pip install wordcloud"
        ) from error
    counts = {word: count for word, count in sorted(counts.items()) if count > 0}
    if not counts:
        raise ValueError("there is no word to draw")
    colors = palette(9)
    cloud = WordCloud(
        width=width,
        height=height,
        max_words=max_words,
        background_color="white",
        font_path=font or DEFAULT_FONT,
        random_state=seed,
        color_func=lambda word, random_state, **_: colors[random_state.randrange(len(colors))],
    )
    return cloud.generate_from_frequencies(counts).to_array()
