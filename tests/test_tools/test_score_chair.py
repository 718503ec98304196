"""`tools/score.py chair`."""

import json
import runpy
import sys

from support.command_ends import ends_with_error
from support.paths import ROOT


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["score.py", "chair", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "score.py"), run_name="__main__")


def test_scores_settings_and_records_are_written(monkeypatch, tmp_path, capsys):
    coco, lines = tmp_path / "coco", tmp_path / "lines.jsonl"
    coco.mkdir()
    content = {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [{"image_id": 1, "category_id": 3}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    (coco / "instances_val.json").write_text(json.dumps(content))
    texts = {1: "Hot dogs", 2: "A dog."}
    lines.write_text("".join(json.dumps({"image_id": key, "caption": text}) + "\n" for key, text in texts.items()))
    out, records, own = tmp_path / "scores.json", tmp_path / "records.jsonl", tmp_path / "synonyms.txt"
    run(monkeypatch, lines, coco, "--json", out, "--per-record", records)
    written = json.loads(out.read_text())
    assert (written["CHAIRs"], written["CHAIRi"], written["recall"]) == (1.0, 1.0, 0.0)
    assert written["settings"]["data"].keys() == {"predictions", "instances_val.json"}
    assert [json.loads(line)["score"] for line in records.read_text().splitlines()] == [1.0, 1.0]
    said = capsys.readouterr().out
    assert "no reference captions" in said and "CHAIRi         1.0000" in said
    own.write_text("dog, hot dog\n")
    run(monkeypatch, lines, coco, "--json", out, "--synonyms", own)
    assert json.loads(out.read_text())["CHAIRs"] == 0.5
    with ends_with_error(capsys, r"score\.py: error: .*there is no file or folder of predictions"):
        run(monkeypatch, tmp_path / "none.jsonl", coco)
