"""How fast ``lira serve`` answers clients that ask at the same time, each as soon as it has its last answer.

A client is a loop; N clients ask until all questions are answered. One client is "one at a time". Rounds take turns over the
counts of clients. Time to the first token is that to the first text or mask of a stream. Needs Linux, whose ``/proc`` tells the
memory.

    LIRA_TINY_ROOT=work_dirs/tiny python benchmarks/serve.py --model work_dirs/tiny/lira --json benchmarks/serve_tiny.json
    LIRA_TINY_ROOT=work_dirs/tiny python benchmarks/serve.py --llm 134M --json benchmarks/serve_134M.json
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from report import write_report
from running_server import Question, RunningServer, running_server, scene_questions

RECIPE_134M = '''"""The tiny recipe with an LLM of 134 M parameters and random weights."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira_tiny.lira_tiny import *

model.init_from = []
model.llm.llm.config.update(
    hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12, vocab_size=32000
)
for part in ("semantic_encoder", "sefe", "mask_decoder"):
    model[part].hidden_size = 768
'''


@dataclass(frozen=True)
class Result:
    """One line of the table: medians over the rounds, times in seconds."""

    task: str
    stream: bool
    clients: int
    requests_per_s: float
    tokens_per_s: float
    first_p50: float
    first_p95: float
    p50: float
    p95: float
    p99: float
    resident_mb: float
    speedup: float
    """Requests a second against one client, median of the rounds."""


@dataclass(frozen=True)
class Answer:
    """What one request took."""

    first: float
    seconds: float
    tokens: int


async def ask(client: httpx.AsyncClient, question: Question, stream: bool, max_tokens: int) -> Answer:
    start, first, tokens = time.perf_counter(), None, 0
    body = question.body(max_tokens=max_tokens)
    if not stream:
        reply = await client.post("/v1/chat/completions", json=body)
        reply.raise_for_status()
        seconds = time.perf_counter() - start
        return Answer(seconds, seconds, reply.json()["usage"]["completion_tokens"])
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                raise RuntimeError(chunk["error"])
            delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
            if first is None and (delta.get("content") or delta.get("grounding")):
                first = time.perf_counter() - start
            tokens = chunk.get("usage", {}).get("completion_tokens", tokens)
    seconds = time.perf_counter() - start
    return Answer(seconds if first is None else first, seconds, tokens)


async def measure(server: RunningServer, questions: list[Question], clients: int, stream: bool, max_tokens: int):
    """All answers, and the seconds that they took together."""
    waiting, answers = iter(questions), []

    async def work(client: httpx.AsyncClient) -> None:
        for question in waiting:
            answers.append(await ask(client, question, stream, max_tokens))

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=limits) as client:
        start = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(clients)))
        return answers, time.perf_counter() - start


def result_of(task: str, stream: bool, clients: int, rounds: list, alone: list, resident: float) -> Result:
    def over_rounds(value) -> float:
        return round(float(np.median([value(*one) for one in rounds])), 4)

    def rate(answers: list[Answer], seconds: float) -> float:
        return len(answers) / seconds

    def quantile(name: str, share: float) -> float:
        return over_rounds(lambda answers, _: np.quantile([getattr(answer, name) for answer in answers], share))

    speedups = [rate(*own) / rate(*one) for own, one in zip(rounds, alone)]
    return Result(
        task, stream, clients, over_rounds(rate),
        over_rounds(lambda answers, seconds: sum(answer.tokens for answer in answers) / seconds),
        quantile("first", 0.5), quantile("first", 0.95),
        quantile("seconds", 0.5), quantile("seconds", 0.95), quantile("seconds", 0.99),
        round(resident, 1), round(float(np.median(speedups)), 2),
    )  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lira_tiny", help="recipe or work dir")
    parser.add_argument("--weights", help="checkpoint file or work dir")
    parser.add_argument("--llm", choices=["tiny", "134M"], default="tiny", help="134M: random weights")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tasks", nargs="+", default=["segment", "caption"])
    parser.add_argument(
        "--requests", type=int, default=128, help="of a round with several clients; one client asks a quarter"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--cache-megabytes", type=float, default=0, help="0: each image is as new as the first")
    parser.add_argument("--json", type=Path, help="write results here")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    results = []
    with TemporaryDirectory() as folder:
        model = args.model
        if args.llm == "134M":
            model = str(Path(folder, "lira_134m.py"))
            Path(model).write_text(RECIPE_134M)
        weights = ["--weights", args.weights] if args.weights else []
        batch = ["--batch-size", str(args.batch_size), "--cache-megabytes", str(args.cache_megabytes)]
        with running_server([model, *weights, *batch], Path(folder, "log")) as server:
            for task in args.tasks:
                questions = scene_questions(task)[: args.requests]
                for stream in (False, True):
                    asyncio.run(measure(server, questions[:8], 4, stream, args.max_tokens))
                    rounds = {clients: [] for clients in args.clients}
                    resident = dict.fromkeys(args.clients, 0.0)
                    for _ in range(args.rounds):
                        for clients in args.clients:
                            some = questions if clients > 1 else questions[: max(8, len(questions) // 4)]
                            rounds[clients].append(asyncio.run(measure(server, some, clients, stream, args.max_tokens)))
                            resident[clients] = max(resident[clients], server.resident_mb())
                    for clients in args.clients:
                        own, alone = rounds[clients], rounds[args.clients[0]]
                        results.append(result_of(task, stream, clients, own, alone, resident[clients]))
                        print(results[-1], flush=True)
    if args.json:
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        settings = {"batch_size": args.batch_size, "cache_megabytes": args.cache_megabytes, "threads": threads}
        write_report(args.json, results, llm=args.llm, rounds=args.rounds, load=os.getloadavg()[1], **settings)


if __name__ == "__main__":
    main()
