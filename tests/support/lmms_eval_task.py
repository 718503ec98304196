"""A task of lmms-eval over local files, as its guide of tasks describes them."""

import json
from collections.abc import Sequence
from pathlib import Path

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {lines}
test_split: test
output_type: generate_until
doc_to_visual: !function task_functions.images_of
doc_to_text: "{{{{question}}}}"
doc_to_target: "answer"
generation_kwargs:
  max_new_tokens: {max_new_tokens}
  temperature: 0
  num_beams: 1
  do_sample: false
process_results: !function task_functions.judge
metric_list:
  - metric: right
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""
FUNCTIONS = """\
from PIL import Image


def images_of(doc):
    return [Image.open(doc["image"]).convert("RGB")]


def judge(doc, results):
    return {"right": float(results[0].strip() == doc["answer"])}
"""


def write_task(
    folder: Path, entries: Sequence[dict[str, str]], name: str = "scene_words", max_new_tokens: int = 10
) -> str:
    """Write a task that asks ``question`` about ``image``, a path, and compares with ``answer``; returns its name."""
    folder.mkdir(parents=True)
    lines = folder / "questions.jsonl"
    lines.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, lines=lines, max_new_tokens=max_new_tokens))
    (folder / "task_functions.py").write_text(FUNCTIONS)
    return name
