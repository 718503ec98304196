"""What a referring expression says of its object: categories, locations and colours, and in which sense.

The rules are few and stated here, not learnt. Where they cannot tell, a word is *ambiguous*: then the expression counts neither
as saying the attribute nor as leaving it out.

* A word belongs to the object unless it follows a relation ("next to the red car", "holding a blue umbrella"). A comma ends that.
  "in", "wearing" and "with" keep to the object before a location ("in front"), a colour by itself ("in red") and a garment.
* A colour before a part or an accessory ("red hat", "gray beard") is not that of the object.
* A location before "of" or after "from" is a relation ("left of the car"), but for that of the image ("left of picture"). One
  after a relation, or in an expression that counts ("second from left") is ambiguous.
* "black" and its like right before a person can be the colour of the skin: ambiguous.
* "closest to the window" and "the car's front" are relations.
* Of categories in a row the last is meant ("bus driver"); "man's" is another thing than the object.
* After "not", "no", "without" and their like nothing is said.
* A word that also names a thing ("orange", "rose") is a colour before a noun ("orange shirt"), after a shade ("dark orange") or
  after "in" and "wearing". It is the thing in the plural and after "a", "an" or a count. Else it is ambiguous.
* The plural of another colour ("the reds") says nothing, and is a word for a colour all the same.
* "piece of cake", "bunch of bananas": what comes after a part or an amount is the object.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lira_plugin.structures import AttributeKind, AttributeLexicon, plurals

Sense = Literal["said", "negated", "other thing", "ambiguous", "silent"]
"""Of the object; denied; of another thing; not to be told; in a phrase that says nothing (:attr:`AttributeLexicon.silent`)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[,;.:()/|]", re.UNICODE)
_BREAKS = frozenset(",;.:()/|")
_NEGATIONS = _words("not no non nor neither never without minus except excluding isnt arent doesnt dont aint")
_DETERMINERS = _words("the a an his her its their this that all very far some most mostly")
_SHADES = _words("dark light bright pale deep neon pastel medium dull solid vivid")
_LINKS = _words("in on at to from wearing wears with w has having wear dressed")
_WORN = _words("wearing wears wear dressed in")
_RELATIONS = _words(
    "of near nearby beside besides behind above below under underneath beneath over between against holding "
    "riding carrying facing touching eating by inside around across along towards toward pulling pushing "
    "watching next than drinking using playing hugging feeding petting driving throwing hitting swinging catching "
    "cutting serving reading petting like"
)
_FILLERS = _words("is are who that which thats whos that's who's there here one ones just only also")
_COUNTED = re.compile(r"\d+(?:nd|rd|th)|second|third|fourth|fifth|sixth|2|3|4|5")
_COUNTS = _words("a an one two three four five six single 1 2 3 4 5 6")
_GARMENTS = _words(
    "shirt shirts tshirt tshirts tee top tops tanktop jacket coat dress pants shorts jeans sweater sweatshirt "
    "hoodie suit skirt vest tank uniform jersey outfit blouse robe gown apron polo bikini swimsuit trunks clothes "
    "clothing gear t plaid striped stripes stripe checkered overalls leggings pajamas sweats turtleneck blazer "
    "cardigan tunic kimono wetsuit snowsuit costume"
)
_PARTS = _words(
    "hat hats cap helmet helmets shoe shoes sock socks sneakers boots glove gloves tie scarf glasses sunglasses "
    "goggles belt strap hair haired beard bearded mustache eyes eye eyed face faced nose skin skinned head headed "
    "tail spot spots spotted ear ears leg legs foot feet hand hands collar sleeve sleeves stripe lid handle wheel "
    "wheels roof door doors window windows frosting icing writing letters logo lettering text label trim bandana "
    "headband visor backpack background wall floor sky grass"
)
_PICTURE = _words(
    "picture pic image photo photograph screen frame shot scene view pictures img camera viewer us you me side"
)
_PARTITIVES = _words("piece pieces slice slices half halves bunch pair group herd flock row stack pile set")
_ALL = _words("anything anyone anybody everything everyone everybody all any nothing")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]\.){2,}")
_SUPERLATIVES = _words("closest nearest farthest furthest")
_SKIN = _words("black white brown tan")
_SIDES = _words("side hand half part section portion area edge corner end most")


class Mention(NamedTuple):
    """An attribute that an expression has a word for.

    Args:
        kind: of the attribute.
        value: of the lexicon; ``""`` where a phrase that says nothing has no word of this kind.
        sense: what the word says of the object.
        word: as the expression has it.
    """

    kind: AttributeKind
    value: str
    sense: Sense
    word: str


@dataclass
class _Item:
    """One or several words that belong together, with the value of each kind that they say, or hide."""

    text: str
    values: dict[AttributeKind, str] = field(default_factory=dict)
    hidden: list[tuple[AttributeKind, str]] = field(default_factory=list)
    is_possessive: bool = False


class ExpressionReader:
    """Finds what expressions say.

    Args:
        lexicons: of the kinds to look for, see :func:`~lira_plugin.structures.load_lexicons`.
    """

    def __init__(self, lexicons: Mapping[AttributeKind, AttributeLexicon]) -> None:
        self.lexicons = dict(lexicons)
        phrases: dict[str, dict[AttributeKind, str]] = {}
        for kind, lexicon in self.lexicons.items():
            for phrase in lexicon.silent:
                phrases.setdefault(phrase, {})
            for word, value in lexicon.words.items():
                if word not in lexicon.silent:
                    phrases.setdefault(word, {})[kind] = value
        self._phrases = phrases
        self._known: dict[str, tuple[Mention, ...]] = {}
        self._longest = max((phrase.count(" ") + 1 for phrase in phrases), default=1)
        words_of = {kind: set(lexicon.words) for kind, lexicon in self.lexicons.items()}
        colors, categories = words_of.get("color", set()), words_of.get("category", set())
        self._things = (colors & categories) | {word for lexicon in self.lexicons.values() for word in lexicon.things}
        self._plural_colors = {
            form: value
            for word, value in (self.lexicons["color"].words.items() if "color" in self.lexicons else ())
            for form in plurals(word)
            if form not in phrases and word not in self._things
        }

    def read(self, expression: str) -> tuple[Mention, ...]:
        """The attributes that an expression has a word for, in its order; each word once for each kind.

        ``sense`` is ``said`` where the word is true of the object, if the expression is.
        """
        if expression not in self._known:  # people often say the same of different objects
            self._known[expression] = tuple(self._mentions(self._items(expression)))
        return self._known[expression]

    def _mentions(self, items: list[_Item]) -> list[Mention]:
        mentions: list[Mention] = []
        scope = _Scope(counts=any(_COUNTED.fullmatch(item.text) for item in items))
        for index, item in enumerate(items):
            mentions += [Mention(kind, value, "silent", item.text) for kind, value in item.hidden]
            if item.values:
                for kind, value in self._meant(items, index).items():
                    mentions.append(Mention(kind, value, self._sense(kind, items, index, scope), item.text))
            scope.enter(items, index, self._keeps_to_the_object(items, index))
        return mentions

    def _items(self, expression: str) -> list[_Item]:
        """Words and phrases of an expression, the longest known phrases first."""
        text = _ABBREVIATION.sub(lambda found: found.group().replace(".", ""), expression.lower())  # "t.v."
        tokens = _TOKEN.findall(text.replace("-", " ").replace("’", "'"))
        items, index = [], 0
        while index < len(tokens):
            for count in range(min(self._longest, len(tokens) - index), 1, -1):
                text = " ".join(tokens[index : index + count])
                if text in self._phrases:
                    break
            else:
                count, text = 1, tokens[index]
            items.append(self._item(text))
            index += count
        return items

    def _item(self, text: str) -> _Item:
        stem = text.removesuffix("'s").removesuffix("s'")
        item = _Item(text, dict(self._phrases.get(stem, {})), is_possessive=stem != text)
        for kind, lexicon in self.lexicons.items():  # what the words of a phrase say alone is hidden by it
            values = [lexicon.words[part] for part in text.split(" ") if part in lexicon.words]
            if not values and stem in lexicon.silent:
                values = [""]
            item.hidden += [(kind, value) for value in dict.fromkeys(values) if kind not in item.values]
        if text in self._plural_colors:
            item.hidden.append(("color", self._plural_colors[text]))
        return item

    def _meant(self, items: list[_Item], index: int) -> dict[AttributeKind, str]:
        """The values of a word; of one that is a colour and a thing, those of what it is here, or all where nothing tells."""
        item = items[index]
        if item.text not in self._things or "color" not in item.values:
            return item.values
        is_color = self._is_color(items, index)
        if is_color is None:
            return item.values
        return {kind: value for kind, value in item.values.items() if (kind == "color") == is_color}

    def _is_color(self, items: list[_Item], index: int) -> bool | None:
        """Whether a word that also names a thing is a colour here; None where that cannot be told."""
        before = items[index - 1].text if index else ""
        after = items[index + 1].text if index + 1 < len(items) else ""
        if before in _SHADES or (_is_noun(after) and not self._is(items, index + 1, "location")):
            return True
        if before in _COUNTS:
            return False
        return True if before in _WORN else None

    def _is(self, items: list[_Item], index: int, kind: AttributeKind) -> bool:
        return index < len(items) and kind in items[index].values

    def _sense(self, kind: AttributeKind, items: list[_Item], index: int, scope: "_Scope") -> Sense:
        item = items[index]
        after = items[index + 1].text if index + 1 < len(items) else ""
        if scope.is_negated:
            return "negated"
        if item.text in self._things and self._is_color(items, index) is None and "color" in item.values:
            return "ambiguous"
        if kind == "location":
            if item.text in _RELATIONS or _is_garment_here(items, index) or self._is_relative(items, index):
                return "other thing"
            return "ambiguous" if scope.is_other or scope.counts else "said"
        if scope.is_other or item.is_possessive:
            return "other thing"
        if kind == "category":
            return "other thing" if self._is(items, index + 1, "category") and not scope.is_other else "said"
        if item.text in _SKIN and index + 1 < len(items) and items[index + 1].values.get("category") == "person":
            return "ambiguous"
        return "other thing" if after in _PARTS else "said"

    def _is_relative(self, items: list[_Item], index: int) -> bool:
        """Whether a location is that of another thing: before "of", but for that of the image, or after "from"."""
        before = [item.text for item in items[max(0, index - 2) : index]]
        if index and items[index - 1].is_possessive:
            return True
        if before[-1:] == ["from"] or (before[:1] == ["from"] and before[1] in _DETERMINERS):
            return True
        rest = [item.text for item in items[index + 1 :]]
        if items[index].text in _SUPERLATIVES and rest and rest[0] in {"to", "from", *_DETERMINERS}:
            return not set(rest[:3]) & _PICTURE
        while rest and rest[0] in _SIDES:
            rest = rest[1:]
        if rest[:1] != ["of"]:
            return False
        rest = [word for word in rest[1:] if word not in _DETERMINERS and word != "whole"]
        return not rest or rest[0] not in _PICTURE

    def _keeps_to_the_object(self, items: list[_Item], index: int) -> bool:
        """Whether what follows a link is still about the object: a location, a colour by itself, or a garment."""
        rest = index + 1
        while rest < len(items) and items[rest].text in _DETERMINERS | _SHADES:
            rest += 1
        if rest >= len(items) or self._is(items, rest, "location") or items[rest].text in _GARMENTS | _PARTS:
            return True
        if not self._is(items, rest, "color"):
            return items[rest].text in _LINKS | _FILLERS | _BREAKS | _SIDES | _PICTURE
        while rest < len(items) and (self._is(items, rest, "color") or items[rest].text in {"and", "/", *_SHADES}):
            rest += 1
        if self._is(items, rest, "location"):
            return items[index].text not in ("with", "w", "has", "having")  # "with green front"
        if rest >= len(items) or not _is_noun(items[rest].text):
            return True
        if items[rest].text in _GARMENTS | _PARTS:
            return True
        return items[index].text in ("wearing", "wears", "wear", "dressed") and not self._is(items, rest, "category")


@dataclass
class _Scope:
    """What the words are about, as far as an expression has been read."""

    counts: bool
    is_other: bool = False
    is_negated: bool = False

    def enter(self, items: list[_Item], index: int, keeps: bool) -> None:
        """Take the word at ``index``; ``keeps`` says whether what follows it is about the object, if the word is a link."""
        text = items[index].text
        before = items[index - 1].text if index else ""
        if text == "but" and before in _ALL:
            self.is_negated = True
        elif text in _BREAKS or text == "but":
            self.is_other = self.is_negated = False
        elif text in _NEGATIONS or text.endswith("n't"):
            self.is_negated = True
        elif text == "of":
            is_picture = any(item.text in _PICTURE for item in items[index + 1 : index + 3])
            self.is_other = self.is_other or not (is_picture or before in _PARTITIVES)
        elif _RELATIONS.intersection(text.split(" ")):
            self.is_other = True
        elif text in _LINKS:
            self.is_other = self.is_other or not keeps


def _is_noun(word: str) -> bool:
    """Whether a word can be what an adjective before it is about: all words but those of the grammar."""
    grammar = _LINKS | _RELATIONS | (_FILLERS - {"one", "ones"}) | _BREAKS | _DETERMINERS | _NEGATIONS
    return bool(word) and word not in grammar and word not in ("and", "or", "but", "&")


def _is_garment_here(items: list[_Item], index: int) -> bool:
    """Whether "top" and its like name a garment: right after a colour, or after "wearing"."""
    if items[index].text not in _GARMENTS or not index:
        return False
    before = items[index - 1]
    return "color" in before.values or before.text in ("wearing", "tank", "crop", "halter", "striped", "plaid")
