"""Thousands of requests of all kinds for ``lira serve``: what is wrong is refused, what is broken off leaves, the rest is right.

Every request is one of: a chat answer, a stream, masks of phrases, something malformed, or a stream that its client breaks
off in the middle. Answers are compared with those of the same questions asked one at a time. Memory is looked at all along,
and slots at the end.

    LIRA_TINY_ROOT=work_dirs/tiny python benchmarks/serve_endurance.py --model work_dirs/tiny/lira --json out.json
"""

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import matplotlib
from report import write_report
from running_server import Question, RunningServer, running_server, scene_questions

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CHAT, SEGMENT = "/v1/chat/completions", "/v1/segment"
MALFORMED = [
    (CHAT, b"{"),
    (CHAT, b"[]"),
    (CHAT, b'{"messages": []}'),
    (CHAT, b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": "hot"}'),
    (CHAT, b'{"messages": [{"role": "user", "content": "Hi"}], "tools": [1]}'),
    (
        CHAT,
        b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]}',
    ),
    (SEGMENT, b'{"image": "data:image/png;base64,AAAA", "phrases": ["dog"]}'),
    (SEGMENT, b'{"phrases": ["dog"]}'),
    (CHAT, b"[" * 50_000),
]


@dataclass(frozen=True)
class Moment:
    """What was seen after some of the requests."""

    requests: int
    seconds: float
    resident_mb: float


def fingerprint(content: str, grounding: list) -> tuple:
    return content, tuple((span["start"], span["end"], str(span["box"])) for span in grounding)


async def whole(client: httpx.AsyncClient, question: Question) -> tuple:
    reply = await client.post(CHAT, json=question.body(max_tokens=60))
    reply.raise_for_status()
    message = reply.json()["choices"][0]["message"]
    return fingerprint(message["content"], message["grounding"])


async def streamed(client: httpx.AsyncClient, question: Question, break_off: bool) -> tuple | None:
    content, spans = "", {}
    async with client.stream("POST", CHAT, json=question.body(max_tokens=60, stream=True)) as reply:
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
            content += delta.get("content") or ""
            spans |= {span["index"]: span for span in delta.get("grounding", [])}
            if break_off and (content or spans):
                return None
    return fingerprint(content, [spans[index] for index in sorted(spans)])


async def segmented(client: httpx.AsyncClient, question: Question) -> tuple:
    phrases = [question.text.removeprefix("Please segment ").rstrip("."), "large red circle"]
    reply = await client.post(SEGMENT, json={"image": question.url, "phrases": phrases})
    reply.raise_for_status()
    return tuple(str(one["grounding"][0]["box"]) for one in reply.json()["segments"])


async def endure(server: RunningServer, args: argparse.Namespace) -> tuple[list[Moment], dict]:
    draw = random.Random(0)
    questions = scene_questions("mixed")[: args.questions]
    segments = [one for one in questions if one.text.startswith("Please segment")]
    kinds = ["malformed"] * args.malformed + ["broken off"] * args.broken_off
    rest = args.requests - len(kinds)
    kinds += [("whole", "streamed", "segmented")[index % 3] for index in range(rest)]
    draw.shuffle(kinds)
    counts, moments, start = (
        {"right": 0, "wrong": 0, "refused": 0, "broken off": 0, "not refused": 0},
        [],
        time.perf_counter(),
    )
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=httpx.Limits(max_connections=64)) as client:
        expected = {one: await whole(client, one) for one in questions}
        expected_segments = {one: await segmented(client, one) for one in segments}
        waiting = iter(enumerate(kinds))

        async def work() -> None:
            for index, kind in waiting:
                question = draw.choice(questions)
                if kind == "malformed":
                    route, body = draw.choice(MALFORMED)
                    reply = await client.post(route, content=body)
                    counts["refused" if reply.status_code == 400 else "not refused"] += 1
                elif kind == "segmented":
                    question = draw.choice(segments)
                    right = await segmented(client, question) == expected_segments[question]
                    counts["right" if right else "wrong"] += 1
                elif kind == "broken off":
                    await streamed(client, question, True)
                    counts["broken off"] += 1
                else:
                    got = await (whole(client, question) if kind == "whole" else streamed(client, question, False))
                    counts["right" if got == expected[question] else "wrong"] += 1
                if index % 25 == 0:
                    moments.append(Moment(index, round(time.perf_counter() - start, 1), round(server.resident_mb(), 1)))

        await asyncio.gather(*(work() for _ in range(args.clients)))
    for _ in range(50):
        health = server.health()
        if not health["running"] and not health["waiting"]:
            break
        await asyncio.sleep(0.1)
    return moments, {**counts, **{f"left {name}": health[name] for name in ("running", "waiting", "restarts")}}


def draw_memory(moments: list[Moment], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
    axes.plot([moment.requests for moment in moments], [moment.resident_mb for moment in moments])
    highest = max(moment.resident_mb for moment in moments)
    axes.set(xlabel="requests", ylabel="resident memory [MiB]", ylim=(0, 1.2 * highest))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lira_tiny")
    parser.add_argument("--weights")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--malformed", type=int, default=300)
    parser.add_argument("--broken-off", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    weights = ["--weights", args.weights] if args.weights else []
    with TemporaryDirectory() as folder, running_server([args.model, *weights], Path(folder, "log")) as server:
        moments, counts = asyncio.run(endure(server, args))
    print(counts)
    half = moments[len(moments) // 2 :]
    print("memory in the second half:", min(one.resident_mb for one in half), max(one.resident_mb for one in half))
    if args.json:
        write_report(args.json, moments, counts=counts, clients=args.clients)
    if args.figure:
        draw_memory(moments, args.figure)


if __name__ == "__main__":
    main()
