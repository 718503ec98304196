"""A server of its own process, and questions about scenes for it."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TOOL = Path(__file__).resolve().parents[1] / "tools" / "serve.py"
CAPTION = (
    "Please describe the image in detail. Respond with interleaved segmentation masks for the corresponding parts of "
    "the answer."
)


@dataclass(frozen=True)
class RunningServer:
    """Where it is reached, and its process."""

    url: str
    process: subprocess.Popen

    def resident_mb(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) / 1024

    def health(self) -> dict:
        """What it says of itself."""
        return httpx.get(f"{self.url}/healthz", timeout=30).json()


@contextmanager
def running_server(arguments: Sequence[str], log: Path, seconds: float = 300) -> Iterator[RunningServer]:
    """Start ``lira serve`` with these arguments, wait until it answers, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("w") as file:
        command = [sys.executable, str(TOOL), *arguments, "--port", str(port), "--name", "lira"]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    server, end = RunningServer(f"http://127.0.0.1:{port}", process), time.monotonic() + seconds
    try:
        while True:
            try:
                if server.health()["status"] == "ok":
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(60)


@dataclass(frozen=True)
class Question:
    """A question about a scene."""

    path: Path
    url: str
    text: str

    def body(self, **settings: object) -> dict:
        """Of a request for a chat's answer."""
        content = [{"type": "text", "text": self.text}, {"type": "image_url", "image_url": {"url": self.url}}]
        return {"messages": [{"role": "user", "content": content}], **settings}


def scene_questions(task: str) -> list[Question]:
    """Questions about the held-out scenes of ``LIRA_TINY_ROOT``: ``segment``, ``caption`` or ``mixed``, in a fixed order."""
    root = Path(os.environ["LIRA_TINY_ROOT"], "data")
    coco = json.loads((root / "coco" / "instances_val.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    things = {}
    for annotation in coco["annotations"]:
        things.setdefault(annotation["image_id"], []).append(names[annotation["category_id"]])
    asked = []
    for image in coco["images"]:
        path = root / "images" / image["file_name"]
        url = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
        segment = [Question(path, url, f"Please segment {name}.") for name in things.get(image["id"], ())]
        captions = [Question(path, url, CAPTION)]
        asked.append({"segment": segment, "caption": captions, "mixed": segment[:2] + captions}[task])
    longest = max(map(len, asked))  # one of each image in turn, so that neighbours are about different images
    return [own[index] for index in range(longest) for own in asked if index < len(own)]
