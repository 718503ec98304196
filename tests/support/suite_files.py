"""Files of evaluation suites as their owners lay them out, a few records each."""

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from support.official_files import people, write, write_vqa

MMBENCH_COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "split"]


def vqa_files(root: Path, subtype: str = "val2014", **changed) -> tuple[str, str]:
    """VQAv2's files of questions and annotations: two questions about one image."""
    entries = [
        {
            "question_id": 262148000 + n,
            "image_id": 262148,
            "question": question,
            "question_type": "none of the above",
            "answer_type": "other",
            "multiple_choice_answer": "down",
            "answers": people(*["down"] * 7, "at table", "skateboard", "down"),
            **changed,
        }
        for n, question in enumerate(("Where is he looking?", "What is he on?"))
    ]
    write_vqa(root, "questions.json", "annotations.json", entries, subtype)
    return str(root / "questions.json"), str(root / "annotations.json")


def lines_file(path: Path, entries: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


def pope_files(root: Path) -> dict[str, str]:
    """POPE's three files; each counts from 1."""
    asked = [
        {
            "question_id": n,
            "image": "COCO_val2014_000000310196.jpg",
            "text": f"Is there a {name} in the image?",
            "label": label,
        }
        for n, (name, label) in enumerate((("snowboard", "yes"), ("dining table", "no")), 1)
    ]
    return {name: lines_file(root / f"coco_pope_{name}.json", asked) for name in ("random", "popular", "adversarial")}


def picture(seed: int, form: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def mmbench_entry(index: int, image: str, choices=("cat", "dog", "", ""), answer="B", **more) -> dict:
    question = "What is it?\nLook closely."
    values = dict(
        zip("ABCD", choices), index=index, question=question, hint="", answer=answer, category="object", image=image
    )
    return values | {"split": "dev"} | more


def mmbench_file(path: Path, entries: list[dict], columns: list[str] = MMBENCH_COLUMNS) -> str:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.DictWriter(file, columns, delimiter="\t", extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(entries)
    return str(path)


def turned_entries(count: int = 2) -> list[dict]:
    """Questions with two choices, each once more with its choices turned, as MMBench's index 1,000,000 and more."""
    entries = []
    for index in range(count):
        image = base64.b64encode(picture(index)).decode()
        entries += [
            mmbench_entry(index, image),
            mmbench_entry(index + 1_000_000, image, choices=("dog", "cat", "", ""), answer="A"),
        ]
    return entries


def scienceqa_files(root: Path) -> tuple[str, str]:
    def problem(picture: str | None, answer: int = 0) -> dict:
        question = {"question": "Which is north?", "choices": ["Ohio", "Texas"], "answer": answer, "image": picture}
        return question | {"hint": "Look at the map.", "lecture": "Maps ...", "solution": "See ...", "split": "test"}

    problems = {
        "5": problem("image.png"),
        "11": problem(None, 1),
        "12": problem("choice.png"),
        "1": problem("image.png"),
    }
    write(root / "problems.json", problems)
    write(root / "pid_splits.json", {"train": ["1"], "test": ["5", "11", "12"]})
    return str(root / "problems.json"), str(root / "pid_splits.json")
