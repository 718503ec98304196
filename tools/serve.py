"""Serve a checkpoint to programs, as OpenAI's API with masks: docs/serve.md.

lira serve work_dirs/tiny/lira
lira serve recipe.py --weights checkpoint.pth --port 8080
"""

import argparse
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.compat import answers_only

TOKENS = "LIRA_SERVE_TOKEN"


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="recipe or work dir; by default the work dir of --weights")
    parser.add_argument("--weights", help="checkpoint file or work dir; by default those of the work dir MODEL")
    parser.add_argument("--name", help="of the model, for clients; by default that of the work dir or recipe")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    parser.add_argument("--dtype", help="cast the weights, such as bfloat16; by default they stay as they are")
    parser.add_argument("--quantize", choices=("int8", "nf4"), help="the LLM in fewer bits, the rest in bfloat16")
    parser.add_argument("--compile", action="store_true", help="compile the model: ready later, then faster on a GPU")
    parser.add_argument("--batch-size", type=int, help="answers written at the same time; by default the recipe's")
    group = parser.add_argument_group("who may ask")
    group.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in")
    group.add_argument("--port", type=int, default=8000)
    group.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="another name that the server is reached by, such as lira.example; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help=f"bearer tokens that let clients in, one a line; or the variable {TOKENS}. Without, everybody may ask",
    )  # fmt: skip
    group.add_argument(
        "--allow-image-host", action="append", default=[], metavar="NAME",
        help="a host that images may be fetched from; by default none, and images come as data URLs",
    )  # fmt: skip
    group = parser.add_argument_group("how much")
    group.add_argument("--max-waiting", type=int, default=256, help="questions in the queue")
    group.add_argument("--max-megabytes", type=float, default=20, help="size of an image")
    group.add_argument("--max-megapixels", type=float, default=16, help="size of an image")
    group.add_argument("--max-new-tokens", type=int, default=1024, help="that a request may ask for")
    group.add_argument("--time-limit", type=float, default=120, metavar="SECONDS", help="of a request")
    group.add_argument("--cache-megabytes", type=float, default=1000, help="for encoded images")
    group.add_argument("--drain-seconds", type=float, default=30, help="for running answers at the end")
    group.add_argument("--log-text", action="store_true", help="write questions and answers into the log")
    args = parser.parse_args(arguments)
    if args.model is None and args.weights is None:
        parser.error("say with MODEL or --weights which model to serve")
    if not 0 < args.max_megapixels <= 178:
        parser.error(f"--max-megapixels is {args.max_megapixels}; Pillow reads images of up to 178")
    if args.compile and args.quantize == "nf4":
        parser.error("--compile cannot compile weights of 4 bits: leave it out, or take --quantize int8")
    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        parser.error(f"the server needs {', '.join(missing)}: uv sync --extra serve, or pip install -e '.[serve]'")
    return args


def tokens_of(file: Path | None) -> list[str]:
    """The tokens of a file and of the environment."""
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    tokens = [line.strip() for line in [*lines, os.environ.get(TOKENS, "")] if line.strip()]
    if file and not tokens:
        raise ValueError(f"{file} has no token")
    return tokens


def main() -> None:
    args = parse_args()
    tokens = tokens_of(args.token_file)
    if not args.compile:  # the compiler needs much of what others do without
        answers_only.install()

    import uvicorn

    from lira_plugin.inference import LIRAInferencer, find_recipe
    from lira_plugin.serving.limits import Limits
    from lira_plugin.serving.model_thread import ModelThread
    from lira_plugin.serving.service import ServerSettings, make_app

    find_recipe(args.model, args.weights)  # what is misspelt ends the command, and is not tried again and again
    image_bytes = round(args.max_megabytes * 1e6)
    limits = Limits(
        body_bytes=image_bytes * 4 // 3 + 10_000_000, image_bytes=image_bytes,
        pixels=round(args.max_megapixels * 1e6), new_tokens=args.max_new_tokens, waiting=args.max_waiting,
        seconds=args.time_limit,
    )  # fmt: skip
    settings = ServerSettings(
        name=args.name or Path(args.model or args.weights).stem, host=args.host, port=args.port,
        allow_hosts=args.allow_host, allow_image_hosts=args.allow_image_host, tokens=tokens, limits=limits,
        drain_seconds=args.drain_seconds, log_text=args.log_text,
    )  # fmt: skip
    how = {"dtype": args.dtype, "quantize": args.quantize, "compile": args.compile, "show_progress": False}
    load = partial(LIRAInferencer, args.model, args.weights, args.device, **how)
    model = ModelThread(load, args.max_waiting, round(args.cache_megabytes * 1e6), args.batch_size)
    app = make_app(model, settings)
    who = "those who know a token" if tokens else "everybody who can reach it"
    print(
        f"http://{args.host}:{args.port}/v1 answers to {who} once the model is loaded: /healthz (Ctrl-C ends it)",
        flush=True,
    )
    uvicorn.run(
        app, host=args.host, port=args.port, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=round(args.drain_seconds) + 1,
    )  # fmt: skip


if __name__ == "__main__":
    run_command(main)
