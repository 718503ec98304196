"""The model card of a packed folder: what the model is, what it learnt from, how it was scored, and whose licences hold."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lira_plugin.json_file import read_json
from lira_plugin.models import LIRA
from lira_plugin.version import __version__

INTERNLM = "MIT; its LLM is of InternLM, which has terms of its own"
QWEN = "its LLM is of Qwen2.5, which has terms of its own"
BASES = {
    "InternVL2-2B": ("OpenGVLab/InternVL2-2B", INTERNLM),
    "InternVL2-8B": ("OpenGVLab/InternVL2-8B", INTERNLM),
    "InternVL2_5-1B": ("OpenGVLab/InternVL2_5-1B", f"MIT; {QWEN}"),
    "InternVL2_5-2B": ("OpenGVLab/InternVL2_5-2B", INTERNLM),
    "InternVL2_5-4B": ("OpenGVLab/InternVL2_5-4B", f"MIT; {QWEN}"),
    "InternVL2_5-8B": ("OpenGVLab/InternVL2_5-8B", INTERNLM),
    "InternVL3-1B": ("OpenGVLab/InternVL3-1B", f"see its model card; {QWEN}"),
    "InternVL3-2B": ("OpenGVLab/InternVL3-2B", f"see its model card; {QWEN}"),
    "InternVL3-8B": ("OpenGVLab/InternVL3-8B", f"see its model card; {QWEN}"),
    **{
        f"InternVL3_5-{size}B": (f"OpenGVLab/InternVL3_5-{size}B", "Apache-2.0, see its model card")
        for size in (1, 2, 4, 8)
    },
    "Qwen2_5-VL-3B": ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen's research licence, see its model card"),
    "Qwen2_5-VL-7B": ("Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0, see its model card"),
    "Qwen3-VL-2B": ("Qwen/Qwen3-VL-2B-Instruct", "Apache-2.0, see its model card"),
    "Qwen3-VL-4B": ("Qwen/Qwen3-VL-4B-Instruct", "Apache-2.0, see its model card"),
    "Qwen2-VL-2B": ("Qwen/Qwen2-VL-2B-Instruct", "Apache-2.0, see its model card"),
}
"""By the name in a recipe: where a base is published, and under which licence."""


def model_card(name: str, recipe: Config, model: LIRA, scores: Sequence[str | Path] = ()) -> str:
    """The text of ``README.md``.

    Args:
        name: of the recipe.
        recipe: its data and bases are named.
        model: is counted.
        scores: JSON files that metrics wrote, each with its protocol.

    Raises:
        FileNotFoundError: there is no such file.
    """
    published = recipe.model.llm.llm.get("published")
    base, licence = BASES.get(published, (None, None))
    front = ["license: other", "library_name: lira_plugin", "pipeline_tag: image-segmentation"]
    front += [f"base_model: {base}"] if base else []
    parts = [
        f"| {part} | {sum(parameter.numel() for parameter in child.parameters()):,} |"
        for part, child in model.named_children()
        if part != "extra_losses" and any(True for _ in child.parameters())
    ]
    licences = [f"* Base: [{base}](https://huggingface.co/{base}): {licence}."] if base else []
    licences += [f"* Started from {source}." for source in _sources(recipe)]
    licences.append(
        "* Weights that were trained from these fall under their terms. Read them at their source before use."
    )
    return "\n".join(
        [
            *("---", *front, "---", "", f"# LIRA: {name}", ""),
            "A [LIRA](https://arxiv.org/abs/2507.06272): a multimodal model that segments what it talks about. Packed by",
            f"lira_plugin {__version__}; the folder is all that answering needs beside that package.",
            *("", "## Use", "", "```python", "from lira_plugin.inference import LIRAInferencer", ""),
            'lira = LIRAInferencer("FOLDER")',
            '[answer] = lira("image.jpg", "Please segment the red car.")',
            "mask = answer.spans[0].mask",
            *("```", "", "## Parts", "", "| part | parameters |", "| --- | --- |", *parts),
            *(
                "",
                "## Data",
                "",
                *_data(recipe),
                "",
                "## Scores",
                "",
                *_scores(scores),
                "",
                "## Licences",
                "",
                *licences,
                "",
            ),
        ]
    )


def _sources(recipe: Config) -> list[str]:
    return [f"`{Path(stage['path']).name}`" for stage in recipe.model.get("init_from") or ()]


def _data(recipe: Config) -> list[str]:
    """What the recipe trains on, a line each."""
    dataset = (recipe.get("train_dataloader") or {}).get("dataset") or {}
    lines = []
    for entry in dataset.get("datasets") or ([dataset] if dataset else []):
        files = [str(entry[key]) for key in ("ann_file", "data_root") if isinstance(entry.get(key), str)]
        source = entry.get("source") or entry.get("dataset") or "data"
        shares = [f"{key} {entry[key]}" for key in ("repeats", "cap", "share") if entry.get(key) is not None]
        lines.append(
            f"* {source}: {', '.join([*(f'`{Path(file).name}`' for file in files), *shares]) or 'see the recipe'}"
        )
    return lines or ["The recipe names no training data."]


def _scores(files: Sequence[str | Path]) -> list[str]:
    if not files:
        return ["None were given when this folder was packed."]
    lines: list[str] = []
    for file in files:
        content: Mapping[str, Any] = read_json(Path(file))
        lines += [f"`{Path(file).name}`, as the metric wrote it, with its protocol:", "", "```json"]
        lines += [json.dumps(content, indent=1, ensure_ascii=False), "```", ""]
    return lines[:-1]
