"""What callers of mmdet's ``DetInferencer`` are used to, and what does it here."""

from typing import Any

from lira_plugin.settings import WrongSetting

_ASK = "the question says what to find: questions='Please segment the red car.'"
_ANY = object()
"""Stands for a value that nobody gives."""

INSTEAD: dict[str, tuple[Any, str]] = {
    "return_vis": (False, "every answer draws itself: answer.plot() is the picture"),
    "print_result": (False, "print(answer), or answer.to_json() for all of it"),
    "no_save_pred": (False, "out_dir always gets predictions.json; leave it out, and answer.save() writes a picture"),
    "draw_pred": (True, "answer.image is the image without masks"),
    "pred_score_thr": (_ANY, "keep the spans with span.score above it; threshold= is of the pixels of a mask"),
    "return_datasamples": (False, "answer.to_supervision(), answer.to_coco(), or lira_plugin.structures.to_det_data_sample"),
    "texts": (None, _ASK),
    "stuff_texts": (None, _ASK),
    "custom_entities": (False, _ASK),
    "tokens_positive": (None, _ASK),
    "question": (_ANY, "it is questions="),
    "prompt": (_ANY, "it is questions="),
    "image": (_ANY, "it is images="),
}  # fmt: skip
"""Arguments that there are elsewhere: the value that asks for what is done here anyway, and what to use for another."""


def without_det_habits(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those of ``INSTEAD`` that change nothing.

    Raises:
        WrongSetting: one asks for something else; the message says how to get it.
    """
    for name in options.keys() & INSTEAD.keys():
        usual, instead = INSTEAD[name]
        if usual is _ANY or options[name] != usual:
            raise WrongSetting(f"the inferencer takes no {name}={options[name]!r:.60}: {instead} (docs/ask.md)")
    return {name: value for name, value in options.items() if name not in INSTEAD}


def images_of(images: Any, options: dict[str, Any]) -> Any:
    """The images of a call; ``inputs`` is taken out of the options, and is another name of them.

    Raises:
        WrongSetting: both are given.
    """
    inputs = options.pop("inputs", None)
    if images is not None and inputs is not None:
        raise WrongSetting("give images or inputs, which is mmdet's name for them, not both")
    return inputs if images is None else images
