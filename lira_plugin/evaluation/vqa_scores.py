"""Soft accuracy of visual question answering: VQAv2, VizWiz, OKVQA and TextVQA.

As the EvalAI evaluator of Pythia and MMF has it, which LLaVA, InternVL and LIRA took over. Answers are normalised by
:func:`normalize_answer`, and compared with those of (as a rule) ten people by :func:`vqa_accuracy`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

_DIGITS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS_STRIPPED = 32
"""The official code hands ``re.UNICODE`` to ``sub`` where the count goes, and its value is 32."""

_CONTRACTIONS = dict(
    pair.split(" ")
    for pair in """\
aint ain't|arent aren't|cant can't|couldve could've|couldnt couldn't|couldn'tve couldn't've|couldnt've couldn't've|
didnt didn't|doesnt doesn't|dont don't|hadnt hadn't|hadnt've hadn't've|hadn'tve hadn't've|hasnt hasn't|havent haven't|
hed he'd|hed've he'd've|he'dve he'd've|hes he's|howd how'd|howll how'll|hows how's|isnt isn't|itd it'd|itd've it'd've|
it'dve it'd've|itll it'll|let's let's|maam ma'am|mightnt mightn't|mightnt've mightn't've|mightn'tve mightn't've|
mightve might've|mustnt mustn't|mustve must've|neednt needn't|notve not've|oclock o'clock|oughtnt oughtn't|
ow's'at 'ow's'at|'ows'at 'ow's'at|'ow'sat 'ow's'at|shant shan't|shed've she'd've|she'dve she'd've|she's she's|
shouldve should've|shouldnt shouldn't|shouldnt've shouldn't've|shouldn'tve shouldn't've|somebody'd somebodyd|
somebodyd've somebody'd've|somebody'dve somebody'd've|somebodyll somebody'll|somebodys somebody's|someoned someone'd|
someoned've someone'd've|someone'dve someone'd've|someonell someone'll|someones someone's|somethingd something'd|
somethingd've something'd've|something'dve something'd've|somethingll something'll|thats that's|thered there'd|
thered've there'd've|there'dve there'd've|therere there're|theres there's|theyd they'd|theyd've they'd've|
they'dve they'd've|theyll they'll|theyre they're|theyve they've|twas 'twas|wasnt wasn't|wed've we'd've|we'dve we'd've|
weve we've|werent weren't|whatll what'll|whatre what're|whats what's|whatve what've|whens when's|whered where'd|
wheres where's|whereve where've|whod who'd|whod've who'd've|who'dve who'd've|wholl who'll|whos who's|whove who've|
whyll why'll|whyre why're|whys why's|wont won't|wouldve would've|wouldnt wouldn't|wouldnt've wouldn't've|
wouldn'tve wouldn't've|yall y'all|yall'll y'all'll|y'allll y'all'll|yall'd've y'all'd've|y'alld've y'all'd've|
y'all'dve y'all'd've|youd you'd|youd've you'd've|you'dve you'd've|youll you'll|youre you're|youve you've""".replace(
        "\n", ""
    ).split("|")
)
"""The table of the VQA challenge with its oddities; its keys in capitals (``Im``) are left out, as words are in small letters."""


@lru_cache(maxsize=1 << 16)
def normalize_answer(text: str) -> str:
    """The form in which answers are compared.

    In this order:

    1. Letters become small. Commas and question marks go. A space is put before each ``'s``.
    2. A punctuation mark goes everywhere in the text where a space is beside it anywhere; else it becomes a space.
    3. The first 32 periods that no digit follows go.
    4. Number words to ten, and ``none``, become digits. Articles go. Contractions get their apostrophe.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    bare = text
    for mark in _PUNCTUATION:
        bare = bare.replace(mark, "" if f"{mark} " in text or f" {mark}" in text else " ")
    bare = _PERIOD.sub("", bare, count=_PERIODS_STRIPPED)
    words = [_DIGITS.get(word, word) for word in bare.split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Agreement of an answer with those of people, 0 to 1.

    Each person is left out once: the share of three others who agree, at most 1; then the mean. So of ten people one gives 0.3,
    two 0.6, three 0.9 and four 1.

    With fewer than four people there are no three others. Then as many are asked for as there are: all must agree for 1. The
    answer of one person is right or wrong. From four people on this is the official rule.

    Args:
        answer: of the model.
        answers: of people.

    Raises:
        ValueError: there is no answer of people.
    """
    if not answers:
        raise ValueError("there is no answer of people to compare with")
    said = normalize_answer(answer)
    agrees = [normalize_answer(other) == said for other in answers]
    if len(agrees) == 1:
        return float(agrees[0])
    needed = min(3, len(agrees) - 1)
    shares = [min(1.0, (sum(agrees) - own) / needed) for own in agrees]
    return sum(shares) / len(shares)
