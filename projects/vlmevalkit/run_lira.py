"""Run VLMEvalKit with a LIRA as its model ``lira``; what this command does not know goes to VLMEvalKit's ``run.py``."""

import argparse
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

from vlmeval.vlm.base import BaseModel

from lira_plugin.inference import LIRAInferencer
from lira_plugin.inference.text_answers import TextQuestion, answer_in_words


class LIRAForVLMEvalKit(BaseModel):
    """The model ``lira``: greedy answers in words, one at a time, as VLMEvalKit asks.

    Args:
        recipe: name or path, whose test pipeline says how images are tiled, or a work dir.
        checkpoint: weights: a file, or a work dir.
        settings: of generation, such as ``max_new_tokens``; those not given are the recipe's, but ``ilvc`` is off.
    """

    INTERLEAVE = False
    allowed_types = ["text", "image"]

    def __init__(self, recipe: str, checkpoint: str | None = None, **settings: Any) -> None:
        super().__init__()
        self.lira = LIRAInferencer(recipe, checkpoint, show_progress=False)
        self.settings = settings

    def generate_inner(self, message: list[dict[str, str]], dataset: str | None = None) -> str:
        """The answer to a message of texts and at most one image.

        Raises:
            ValueError: the message has several images, or one that cannot be read.
        """
        text = "\n".join(item["value"] for item in message if item["type"] == "text")
        images = tuple(item["value"] for item in message if item["type"] == "image")
        question = TextQuestion(f"{dataset}: {text[:60]!r}", text, images)
        return answer_in_words(self.lira, [question], **self.settings)[0]


def main() -> None:
    """Add the model to those that VLMEvalKit knows, and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vlmevalkit", type=Path, help="checkout of VLMEvalKit")
    parser.add_argument("recipe", help="recipe of the model, such as configs/lira/eval/lira_2b_gqa.py")
    parser.add_argument("checkpoint", help="its weights: a file, or a work dir")
    parser.add_argument("--max-new-tokens", type=int, default=100, help="tokens of an answer at most")
    args, others = parser.parse_known_args()
    from vlmeval.config import supported_VLM

    settings = {"max_new_tokens": args.max_new_tokens}
    supported_VLM["lira"] = partial(LIRAForVLMEvalKit, args.recipe, args.checkpoint, **settings)
    sys.argv = ["run.py", "--model", "lira", *others]
    runpy.run_path(str(args.vlmevalkit / "run.py"), run_name="__main__")


if __name__ == "__main__":
    main()
