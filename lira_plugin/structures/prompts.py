"""What a model is asked, to the letter: chat templates, and the questions of RefSeg and of grounded captions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lira_plugin.structures.conversation import PhraseSpan, Turn

GCG_QUESTIONS = (
    "Could you please give me a detailed description of the image? "
    "Please respond with interleaved segmentation masks for the corresponding parts of the answer.",
    "Can you provide a thorough description of the this image? "
    "Please output with interleaved segmentation masks for the corresponding phrases.",
    "Please describe in detail the contents of the image. "
    "Please respond with interleaved segmentation masks for the corresponding parts of the answer.",
    "Could you give a comprehensive explanation of what can be found within this picture? "
    "Please output with interleaved segmentation masks for the corresponding phrases.",
    "Could you give me an elaborate explanation of this picture? "
    "Please respond with interleaved segmentation masks for the corresponding phrases.",
    "Could you provide me with a detailed analysis of this photo? "
    "Please output with interleaved segmentation masks for the corresponding parts of the answer.",
)
"""The questions of GLaMM, which the published checkpoints were trained with, to the letter."""


@dataclass(frozen=True)
class ChatTemplate:
    """How turns become text.

    Args:
        system: put in front of the first turn.
        instruction: holds ``{input}``, which is replaced by the question.
        suffix: ends an answer; its last token is where generation stops.
        separator: put in front of every turn but the first.
    """

    system: str
    instruction: str
    suffix: str
    separator: str = ""

    def __post_init__(self) -> None:
        if self.instruction.count("{input}") != 1:
            raise ValueError(f"the instruction of a chat template must hold '{{input}}' once, got {self.instruction!r}")

    def question(self, text: str, first: bool) -> tuple[str, str]:
        """The text before the question and the text from it on; an image goes between the two."""
        before, after = self.instruction.split("{input}")
        return (self.system if first else self.separator) + before, text + after


INTERNVL2_TEMPLATE = ChatTemplate(
    system=(
        "<|im_start|>system\n你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，"
        "英文名叫InternVL, 是一个有用无害的人工智能助手。<|im_end|>"
    ),
    instruction="<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n",
    suffix="<|im_end|>",
)
# ChatML parts turns by a line break; the one before a question stands in front of the first, too, after the system prompt.
QWEN_TEMPLATE = ChatTemplate(
    system="<|im_start|>system\nYou are a helpful assistant.<|im_end|>",
    instruction="\n<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
    suffix="<|im_end|>",
)
INTERNVL2_5_TEMPLATE = replace(
    QWEN_TEMPLATE,
    system=(
        "<|im_start|>system\n你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"
        "多模态大语言模型。<|im_end|>"
    ),
)
# As above, without a system prompt.
QWEN3_TEMPLATE = ChatTemplate(
    system="",
    instruction="<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
    suffix="<|im_end|>",
    separator="\n",
)
CHAT_TEMPLATES = {
    "internvl2_chat": INTERNVL2_TEMPLATE,
    "internvl2_5_chat": INTERNVL2_5_TEMPLATE,
    "qwen_chat": QWEN_TEMPLATE,
    "qwen3_chat": QWEN3_TEMPLATE,
}
"""Published templates by the names that xtuner and LIRA give them."""


def build_template(template: ChatTemplate | Mapping[str, str] | str | None) -> ChatTemplate | None:
    """A chat template from itself, its arguments or its name in :data:`CHAT_TEMPLATES`; None of None.

    Raises:
        ValueError: there is none of this name.
    """
    if isinstance(template, str) and template not in CHAT_TEMPLATES:
        raise ValueError(f"unknown chat template {template!r}; known are {sorted(CHAT_TEMPLATES)}")
    if isinstance(template, str):
        return CHAT_TEMPLATES[template]
    return ChatTemplate(**template) if isinstance(template, Mapping) else template


def refer_question(label: str) -> str:
    """RefSeg's question (``omg_llava/dataset/process_functions/referring_seg_process.py``)."""
    return f"Please segment {label}."


def refer_label(question: str) -> str | None:
    """The label that a RefSeg question asks for, None where it is another question: the inverse of :func:`refer_question`."""
    match = re.fullmatch(r"please\s+segment\s+(.*[^\s.])[\s.]*", question.strip(), re.IGNORECASE | re.DOTALL)
    return match.group(1).lower() if match else None


def refer_turn(label: str, region: int | None) -> Turn:
    """One RefSeg turn; ``region=None`` is the answer to an expression that names nothing in the image."""
    label = label.strip().lower()
    if region is None:
        return Turn(refer_question(label), f"There is no {label}.")
    return Turn(refer_question(label), f"{label}.", (PhraseSpan(0, len(label), region),))


def instances_question(classes: Sequence[str]) -> str:
    """The question for every instance of some categories: PSALM's instruction, with all names (``build_COCO_instance.py``)."""
    return f"Please segment all of objects in this image. The candidate categories are: {', '.join(classes)}."


def instances_turn(classes: Sequence[str], phrases: Sequence[str]) -> Turn:
    """The turn that names every instance; the phrase at index N is that of region N."""
    question = instances_question(classes)
    if not phrases:
        return Turn(question, "There is no object of these categories.")
    spans, end = [], 0
    for region, phrase in enumerate(phrases):
        spans.append(PhraseSpan(end, end + len(phrase), region))
        end += len(phrase) + len(", ")
    return Turn(question, f"{', '.join(phrases)}.", tuple(spans))


def reason_question(text: str, is_sentence: bool) -> str:
    """ReasonSeg's question in LISA's evaluation: of a sentence (long), or of a phrase (short)."""
    asked = text.strip() if is_sentence else f"What is {text.strip()} in this image?"
    return f"{asked} Please output segmentation mask."


def reason_turn(text: str, is_sentence: bool, region: int | None) -> Turn:
    """One ReasonSeg turn; ``region=None`` is the answer where nothing in the image is what the question asks for."""
    if region is None:
        return Turn(reason_question(text, is_sentence), "There is no such thing.")
    return Turn(reason_question(text, is_sentence), "It is this.", (PhraseSpan(6, 10, region),))
