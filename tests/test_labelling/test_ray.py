"""The same over Ray, where it is installed: a cluster of this machine with one actor."""

import json

import pytest
from support.tiny_recipes import write_work_dir

from lira_plugin.inference import LIRAInferencer
from lira_plugin.labelling.label_inputs import LabelInput

pytest.importorskip("ray.data", reason="needs Ray: uv sync --extra ray")
pytestmark = pytest.mark.slow


def test_entries_are_those_of_one_process(tmp_path, monkeypatch):
    from lira_plugin.labelling.label_outputs import label_entry
    from lira_plugin.labelling.labeller import Labeller
    from lira_plugin.labelling.ray_labelling import ModelSettings, ray_entries

    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    work_dir = str(write_work_dir(tmp_path))
    images = sorted((tmp_path / "data" / "images").iterdir())[:3]
    lines = [
        {"image": str(image), "question": "Please segment red circle."} for image in [*images, tmp_path / "gone.png"]
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labeller = Labeller(LIRAInferencer(work_dir, show_progress=False))
    expected = {
        record.record_id: label_entry(record, result) for record, result in labeller.results(LabelInput(source))
    }
    entries = list(ray_entries(LabelInput(source), ModelSettings(work_dir, None), None, 1))
    assert len(entries) == 4
    for entry in entries:
        own = expected[entry["id"]]
        assert (entry["text"], entry["error"], len(entry["spans"])) == (own["text"], own["error"], len(own["spans"]))
