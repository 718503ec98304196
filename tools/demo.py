"""Chat with a checkpoint about images in the browser: docs/demo.md.

python tools/demo.py --model work_dirs/tiny/lira
python tools/demo.py --model recipe.py --weights checkpoint.pth --port 8080
"""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lira_plugin.command_end import run_command
from lira_plugin.compat import answers_only

if TYPE_CHECKING:
    from lira_plugin.demo.chat import Example

EXAMPLES = (3, 5, 8)
"""Seeds of the scenes to try."""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", "--config", help="recipe, work dir or packed folder; by default the work dir of --weights"
    )
    parser.add_argument("--weights", help="checkpoint file or work dir; by default those of the work dir --model")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    parser.add_argument("--dtype", help="cast the weights, such as bfloat16; by default they stay as they are")
    parser.add_argument("--quantize", choices=("int8", "nf4"), help="the LLM in fewer bits, the rest in bfloat16")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in, whom nothing asks for a password")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="another name that the demo is reached by, such as demo.example or localhost:8080; may be repeated",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--max-megabytes", type=float, default=20, help="size of an upload")
    parser.add_argument("--max-megapixels", type=float, default=16, help="size of an image")
    args = parser.parse_args(arguments)
    if args.model is None and args.weights is None:
        parser.error("say with --model or --weights which model to ask")
    if not 0 < args.max_megapixels <= 178:
        parser.error(f"--max-megapixels is {args.max_megapixels}; Pillow reads images of up to 178")
    if find_spec("gradio") is None:
        parser.error("the demo needs gradio: uv sync --extra demo, or pip install -e '.[demo]'")
    return args


def examples() -> list[Example]:
    """Generated scenes to try, each with a question about an object that its words single out."""
    import numpy as np

    from lira_plugin.demo.chat import Example
    from lira_plugin.scenes.scene_drawing import make_scene

    made = []
    for seed in EXAMPLES:
        scene = make_scene(np.random.default_rng(seed), size=256)
        sentence = next(own[0].text for own in scene.sentences if own)
        made.append(Example(sentence, scene.image, f"Please segment {sentence}."))
    return made


def main() -> None:
    args = parse_args()
    with TemporaryDirectory(prefix="lira-demo-", ignore_cleanup_errors=True) as folder:
        # gradio reads these when it is imported
        os.environ.update(
            GRADIO_TEMP_DIR=folder,
            GRADIO_EXAMPLES_CACHE=folder,
            GRADIO_ANALYTICS_ENABLED="False",
            HF_HUB_DISABLE_TELEMETRY="1",
        )
        answers_only.install()
        from lira_plugin.demo.app import Demo, build, launch
        from lira_plugin.inference import LIRAInferencer

        lira = LIRAInferencer(
            args.model, args.weights, args.device, dtype=args.dtype, quantize=args.quantize, show_progress=False
        )
        settings = lira.model.generation
        demo = Demo(lira, Path(folder), round(args.max_megapixels * 1e6), examples())
        page = build(demo, settings.get("threshold", 0.5), settings.get("ilvc", True))
        address = launch(page, args.host, args.port, round(args.max_megabytes * 1e6), args.allow_host)
        print(address, "(Ctrl-C ends the demo)", flush=True)
        page.block_thread()


if __name__ == "__main__":
    run_command(main)
