"""Rules by which answers in words are scored, one for each kind of suite, over plain answers and their truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lira_plugin.evaluation.choice_letters import choice_letter, reference_letter, seed_letter
from lira_plugin.evaluation.gqa_scores import extract_gqa, gqa_match, gqa_match_official
from lira_plugin.evaluation.relaxed_scores import relaxed_match
from lira_plugin.evaluation.vqa_scores import normalize_answer, vqa_accuracy
from lira_plugin.evaluation.yes_no_scores import (
    MME_PARTS,
    YesNo,
    count_pairs,
    first_verdict,
    mme_figures,
    mme_verdict,
    pope_verdict,
    yes_no_figures,
)
from lira_plugin.structures import AnswerTruth

RuleName = Literal["vqa", "gqa", "scienceqa", "choice", "mmbench", "pope", "relaxed", "mme", "seed", "attreval"]
"""The names of :data:`ANSWER_RULES`."""

SEED_IMAGE_TYPES = range(1, 10)
"""Types of SEED-Bench's questions that are about an image; the three after them are about videos."""


class Judged(NamedTuple):
    """An answer as a rule takes it: what it extracts, the score from 0 to 1, and scores by other rules by their names."""

    extracted: str
    score: float
    others: Mapping[str, float] = {}


@dataclass(frozen=True)
class AnswerResult:
    """One answered question.

    Args:
        record_id: of the question.
        answer: to it.
        truth: of it.
        judged: None where only a server knows the truth.
        source: of the question, where answers of several sources are scored together.
    """

    record_id: str
    answer: str
    truth: AnswerTruth
    judged: Judged | None
    source: str = ""

    @property
    def group(self) -> str:
        """What counts together, ``""`` for an answer on its own: a group of the truth within a source."""
        group = self.truth.group
        return f"{group!r} of {self.source!r}" if group and self.source else group

    def to_json(self) -> dict[str, Any]:
        """Plain types: a line for error analysis, which can be scored again (:mod:`~lira_plugin.evaluation.answer_lines`)."""
        known = {
            "source": self.source,
            "label": self.truth.label,
            "category": self.truth.category,
            "group": self.truth.group,
        }
        line = {"record_id": self.record_id, "answer": self.answer} | {key: text for key, text in known.items() if text}
        for key, texts in {"answers": self.truth.answers, "choices": self.truth.choices}.items():
            if texts:
                line[key] = list(texts)
        if self.judged is not None:
            line |= {"extracted": self.judged.extracted, "score": self.judged.score}
            line |= {f"score_{name}": score for name, score in self.judged.others.items()}
        return line


class AnswerRule(NamedTuple):
    """A rule: what it is for, how one answer is judged, and what all say together."""

    help: str
    judge: Callable[[str, AnswerTruth], Judged]
    summarise: Callable[[Sequence[AnswerResult]], dict[str, float]]


def _vqa(answer: str, truth: AnswerTruth) -> Judged:
    people = truth.answers or (_label(truth),)
    return Judged(normalize_answer(answer), vqa_accuracy(answer, people))


def _gqa(answer: str, truth: AnswerTruth) -> Judged:
    label = _label(truth)
    official = float(gqa_match_official(answer, label))
    return Judged(extract_gqa(answer), float(gqa_match(answer, label)), {"official": official})


def _science(answer: str, truth: AnswerTruth) -> Judged:
    label, letter = _label(truth), reference_letter(answer, truth.choices)
    return Judged(letter, float(letter == label), {"tolerant": _tolerant(answer, truth)})


def _choice(answer: str, truth: AnswerTruth) -> Judged:
    label, text = _label(truth), answer.strip()
    return Judged(text, float(text.lower() == label.lower()), {"tolerant": _tolerant(answer, truth)})


def _mmbench(answer: str, truth: AnswerTruth) -> Judged:
    return Judged(choice_letter(answer, truth.choices), _tolerant(answer, truth))


def _pope(answer: str, truth: AnswerTruth) -> Judged:
    verdict = pope_verdict(answer)
    return Judged(verdict, float(verdict == _yes_or_no(truth)))


def _mme(answer: str, truth: AnswerTruth) -> Judged:
    verdict = mme_verdict(answer)
    return Judged(verdict, float(verdict == _yes_or_no(truth)))


def _attreval(answer: str, truth: AnswerTruth) -> Judged:
    label, verdict = _yes_or_no(truth), first_verdict(answer)
    return Judged(verdict, float(answer.strip().lower() == label), {"tolerant": float(verdict == label)})


def _relaxed(answer: str, truth: AnswerTruth) -> Judged:
    return Judged(answer.strip(), float(relaxed_match(answer, _label(truth))))


def _seed(answer: str, truth: AnswerTruth) -> Judged:
    letter = seed_letter(answer)
    return Judged(letter, float(letter == _label(truth)))


def _tolerant(answer: str, truth: AnswerTruth) -> float:
    return float(choice_letter(answer, truth.choices) == _label(truth))


def _label(truth: AnswerTruth) -> str:
    if not truth.label:
        raise ValueError("the truth has no label, which this rule compares the answer with")
    return truth.label


def _yes_or_no(truth: AnswerTruth) -> str:
    label = _label(truth).strip().lower()
    if label not in ("yes", "no"):
        raise ValueError(f"the label must be 'yes' or 'no', got {truth.label!r}")
    return label


def _means(results: Sequence[AnswerResult]) -> dict[str, float]:
    """Means of all scores: ``accuracy``, and ``accuracy_<rule>`` of other rules."""
    figures = {"accuracy": sum(result.judged.score for result in results) / len(results)}
    for name in results[0].judged.others:
        figures[f"accuracy_{name}"] = sum(result.judged.others[name] for result in results) / len(results)
    return figures


def _circular(results: Sequence[AnswerResult]) -> dict[str, float]:
    """``accuracy`` of answers, and ``circular_accuracy`` of questions: all answers of a group must be right."""
    groups: dict[str | int, list[float]] = {}
    for index, result in enumerate(results):
        groups.setdefault(result.group or index, []).append(result.judged.score)
    return _means(results) | {"circular_accuracy": sum(map(min, groups.values())) / len(groups)}


def _verdicts(results: Sequence[AnswerResult]) -> list[YesNo]:
    return [YesNo(result.judged.extracted, _yes_or_no(result.truth), result.group) for result in results]


def _yes_no(results: Sequence[AnswerResult]) -> dict[str, float]:
    return yes_no_figures(_verdicts(results))


def _images(results: Sequence[AnswerResult]) -> dict[str, float]:
    return mme_figures(_verdicts(results))


def _paired(results: Sequence[AnswerResult]) -> dict[str, float]:
    """Means, the same of pairs of which both are right, of the answers where yes or no is right, and the share of yes."""
    pairs = count_pairs([result.group for result in results])
    figures = {"pairs": len(pairs)} | {
        f"pair_{name}": sum(min(scores[first], scores[second]) for first, second in pairs) / len(pairs)
        for name, scores in (
            ("accuracy", [result.judged.score for result in results]),
            ("accuracy_tolerant", [result.judged.others["tolerant"] for result in results]),
        )
    }
    for label in ("yes", "no"):
        own = [result.judged.score for result in results if _yes_or_no(result.truth) == label]
        if own:
            figures[f"accuracy_where_{label}"] = sum(own) / len(own)
    yes_share = sum(result.judged.extracted == "yes" for result in results) / len(results)
    return figures | _means(results) | {"yes_share": yes_share}


def _by_category(
    figures_of: Callable[[Sequence[AnswerResult]], dict[str, float]], results: Sequence[AnswerResult]
) -> dict[str, dict[str, float]]:
    """Figures of each category, in the order in which they occur; answers without a category are in none."""
    groups: dict[str, list[AnswerResult]] = {}
    for result in results:
        if result.truth.category:
            groups.setdefault(result.truth.category, []).append(result)
    return {category: figures_of(own) for category, own in groups.items()}


def _flat(by_category: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{category}/{name}": value for category, own in by_category.items() for name, value in own.items()}


def _summarise_means(results: Sequence[AnswerResult]) -> dict[str, float]:
    return _means(results) | _flat(_by_category(_means, results))


def _summarise_circular(results: Sequence[AnswerResult]) -> dict[str, float]:
    return _circular(results) | _flat(_by_category(_circular, results))


def _summarise_pope(results: Sequence[AnswerResult]) -> dict[str, float]:
    by_category = _by_category(_yes_no, results)
    figures = _yes_no(results)
    values = [own["F1"] for own in by_category.values()] or [figures["F1"]]
    return figures | {"mean_F1": sum(values) / len(values)} | _flat(by_category)


def _summarise_mme(results: Sequence[AnswerResult]) -> dict[str, float]:
    by_category = _by_category(_images, results)
    sums = {
        part: sum(by_category[name]["score"] for name in names if name in by_category)
        for part, names in MME_PARTS.items()
        if by_category.keys() & set(names)
    }
    return _means(results) | sums | _flat(by_category)


def _summarise_attreval(results: Sequence[AnswerResult]) -> dict[str, float]:
    """By kind, too: a pair is of one kind, so the pairs of a kind are pairs of the whole."""
    categories = [result.truth.category for result in results]
    for first, second in count_pairs([result.group for result in results]):
        if categories[first] != categories[second]:
            kinds = f"{categories[first]!r} and {categories[second]!r}"
            raise ValueError(
                f"both questions of a pair ask for one attribute, but answers {first} and {second} are {kinds}"
            )
    return _paired(results) | _flat(_by_category(_paired, results))


def _summarise_seed(results: Sequence[AnswerResult]) -> dict[str, float]:
    by_medium: dict[str, list[AnswerResult]] = {}
    for result in results:
        if result.truth.category.isdecimal():
            medium = "image" if int(result.truth.category) in SEED_IMAGE_TYPES else "video"
            by_medium.setdefault(medium, []).append(result)
    return _summarise_means(results) | _flat({medium: _means(own) for medium, own in by_medium.items()})


ANSWER_RULES: dict[RuleName, AnswerRule] = {
    "vqa": AnswerRule("VQAv2, VizWiz, OKVQA, TextVQA: soft accuracy over ten answers", _vqa, _summarise_means),
    "gqa": AnswerRule("GQA: exact match after LIRA's extraction, and the official one", _gqa, _summarise_means),
    "scienceqa": AnswerRule("ScienceQA: letter by LIRA's rule, and a tolerant one", _science, _summarise_means),
    "choice": AnswerRule(
        "AI2D and others with options: the letter alone, and a tolerant rule", _choice, _summarise_means
    ),
    "mmbench": AnswerRule("MMBench: letter with fallbacks, each answer and circular", _mmbench, _summarise_circular),
    "pope": AnswerRule("POPE: accuracy, precision, recall, F1, yes share, by category too", _pope, _summarise_pope),
    "relaxed": AnswerRule("ChartQA: equal, or a number within 5 percent", _relaxed, _summarise_means),
    "mme": AnswerRule("MME: accuracy, accuracy+ and scores by category, perception, cognition", _mme, _summarise_mme),
    "attreval": AnswerRule(
        "AttrEval: pairs of which both answers are right, by the reference's rule and a tolerant one, by attribute",
        _attreval,
        _summarise_attreval,
    ),
    "seed": AnswerRule("SEED-Bench: the first character, by type, image and video", _seed, _summarise_seed),
}
"""Every rule by its name."""


def judge_answer(rule: RuleName, answer: str, truth: AnswerTruth) -> Judged:
    """Judge one answer.

    Raises:
        ValueError: the truth lacks what the rule needs, or is not of its form.
    """
    return ANSWER_RULES[rule].judge(answer, truth)


def summarise_answers(rule: RuleName, results: Sequence[AnswerResult]) -> dict[str, float]:
    """What judged answers say together: ``questions`` (count), ``accuracy`` and further figures by name.

    ``<category>/<name>`` is of those with that category. Answers whose truth only a server knows count in ``questions`` alone.

    Raises:
        ValueError: answers cannot be summarised, see the rule's functions.
    """
    judged = [result for result in results if result.judged is not None]
    return {"questions": len(results)} | (ANSWER_RULES[rule].summarise(judged) if judged else {})
