"""Answers for many images: each record once, however the runs before have ended."""

import json
import resource
import signal
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.scripted_llm import alike

from lira_plugin.labelling import label_outputs
from lira_plugin.labelling.label_inputs import LabelInput
from lira_plugin.labelling.label_outputs import open_output
from lira_plugin.labelling.labeller import Labeller, label
from lira_plugin.structures import GroundedSpan, GroundedText, decode_segmentation

QUESTION = "Please segment red circle."
RUN = {"model": "tiny"}


def write_lines(path, *entries):
    path.write_text("".join(entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries))
    return path


def questions(photos, count=7):
    names = ["a.png", "b.png", "inner/c.png"]
    return [
        {"id": f"r{index}", "image": str(photos / names[index % 3]), "question": f"Is it {'very ' * index}red?"}
        for index in range(count)
    ]


def run(lira, source, out, asked=(), **settings):
    records = LabelInput(source, asked)
    with open_output(out, RUN) as output:
        return label(Labeller(lira, batch_size=4, **settings), records, output, show_progress=False)


def read(out):
    if out.suffix == ".jsonl":
        return [json.loads(line) for line in out.read_text().splitlines()]
    return [entry for part in sorted(out.glob("*.parquet")) for entry in pq.read_table(part).to_pylist()]


def answer_of(entry):
    """A grounded text as it was written."""
    size = entry["size"]

    def mask(rle):
        return None if rle is None else decode_segmentation(rle, *size)

    spans = [
        GroundedSpan(
            span["start"], span["end"], span["phrase"], mask(span["segmentation"]), mask(span["coarse_segmentation"]),
            span["score"], phrase_prob=span["phrase_prob"],
        )
        for span in entry["spans"]
    ]  # fmt: skip
    return GroundedText(entry["text"], tuple(spans), entry["raw_text"], entry["finished"])


def same_answer(entry, expected):
    written = answer_of(entry)
    refined = [span.refined for span in expected.spans]  # which is not written
    spans = [GroundedSpan(**{**vars(span), "refined": own}) for span, own in zip(written.spans, refined)]
    plain = [GroundedSpan(**{**vars(span), "logits": None, "coarse_logits": None}) for span in expected.spans]
    alike(
        GroundedText(written.text, tuple(spans), written.raw_text, written.finished),
        GroundedText(expected.text, tuple(plain), expected.raw_text, expected.finished),
    )


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_answers_are_those_of_the_inferencer(lira, photos, tmp_path, ending):
    asked = questions(photos)
    out = tmp_path / f"out{ending}"
    assert run(lira, write_lines(tmp_path / "in.jsonl", *asked), out) == (7, 0)
    entries = {entry["id"]: entry for entry in read(out)}
    expected = lira([one["image"] for one in asked], [one["question"] for one in asked])
    assert any(answer.spans for answer in expected) and len(entries) == 7
    for one, answer in zip(asked, expected):
        entry = entries[one["id"]]
        assert entry["size"] == [48, 64] and entry["error"] is None and entry["question"] == one["question"]
        same_answer(entry, answer)


def test_a_folder_of_images_with_several_questions(lira, photos, tmp_path):
    out = tmp_path / "out.jsonl"
    assert run(lira, photos, out, [QUESTION, "What is it?"], force=False) == (6, 0)
    ids = {"a.png", "b.png", "inner/c.png"}
    assert {entry["id"] for entry in read(out)} == {f"{name}#{index}" for name in ids for index in range(2)}
    assert run(lira, photos, tmp_path / "one.jsonl", [QUESTION]) == (3, 0)
    assert {entry["id"] for entry in read(tmp_path / "one.jsonl")} == ids


@pytest.mark.parametrize("stored", ["bytes", "struct", "path"])
def test_parquet_tables_with_images_of_all_kinds(lira, photos, tmp_path, stored):
    paths = [photos / "a.png", photos / "b.png"]
    images = {
        "bytes": [path.read_bytes() for path in paths],
        "struct": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "path": [str(path) for path in paths],
    }[stored]
    (tmp_path / "in").mkdir()
    for index in range(2):
        pq.write_table(pa.table({"image": images, "label": [1, 2]}), tmp_path / "in" / f"t{index}.parquet")
    assert run(lira, tmp_path / "in", tmp_path / "out.parquet", [QUESTION]) == (4, 0)
    entries = {entry["id"]: entry for entry in read(tmp_path / "out.parquet")}
    assert sorted(entries) == ["t0.parquet:0", "t0.parquet:1", "t1.parquet:0", "t1.parquet:1"]
    for index, answer in enumerate(lira([str(path) for path in paths], QUESTION)):
        same_answer(entries[f"t1.parquet:{index}"], answer)


def test_what_cannot_be_asked_is_an_entry_with_its_error(lira, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = questions(photos, 3)
    lines = [
        good[0], "{not json\n", {"id": "gone", "image": "gone.png", "question": "?"},
        {"id": "broken", "image": "broken.png", "question": "?"}, good[1], {"id": "mute", "image": good[0]["image"]},
        {"id": [1], "image": "a.png", "question": "?"}, "[]\n", "\n", {"id": 5, "image": 7, "question": "?"},
        {"id": "text", "question": "What is red?"}, {"id": "\u0000", "image": "a\u0000.png", "question": "?"}, good[2],
    ]  # fmt: skip
    out = tmp_path / "out.jsonl"
    assert run(lira, write_lines(tmp_path / "in.jsonl", *lines), out) == (12, 8)
    entries = {entry["id"]: entry for entry in read(out)}
    assert {name for name, entry in entries.items() if not entry["error"]} == {"r0", "r1", "r2", "text"}
    for name, said in {
        "line 2": "JSON|Expecting", "gone": "no image", "broken": "read", "mute": "question", "line 7": "id",
        "line 8": "object", "5": "image", "\u0000": "no image",
    }.items():  # fmt: skip
        assert any(word in entries[name]["error"] for word in said.split("|")), entries[name]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_run_that_was_killed_is_gone_on_with(lira, photos, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(label_outputs, "_PART", 2)
    asked = questions(photos, 9)
    source, out = write_lines(tmp_path / "in.jsonl", *asked), tmp_path / f"out{ending}"
    records = LabelInput(source)
    with pytest.raises(KeyboardInterrupt), open_output(out, RUN) as output:
        for count, (record, result) in enumerate(Labeller(lira, batch_size=2).results(records)):
            output.add(label_outputs.label_entry(record, result))
            if count == 4:
                output._waiting = []  # as an end by force would
                raise KeyboardInterrupt
    first = [entry["id"] for entry in read(out)]
    assert 0 < len(first) < 9
    if ending == ".jsonl":
        with out.open("a") as file:
            file.write('{"id": "r8", "te')  # the line that was being written
    else:
        (out / "part-000009.parquet.part").write_bytes(b"PAR1 and then")
    assert run(lira, source, out) == (9 - len(first), 0)
    entries = read(out)
    assert Counter(entry["id"] for entry in entries) == Counter(one["id"] for one in asked)
    assert [entry["id"] for entry in entries][: len(first)] == first
    assert not list(tmp_path.rglob("*.part"))
    assert run(lira, source, out) == (0, 0)


def test_draws_are_those_of_an_unbroken_run(lira, photos, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", *questions(photos, 6))
    drawing = {"do_sample": True, "temperature": 1.5, "seed": 3}
    run(lira, source, tmp_path / "whole.jsonl", **drawing)
    whole = {entry["id"]: entry["text"] for entry in read(tmp_path / "whole.jsonl")}
    some = [entry for entry in read(tmp_path / "whole.jsonl") if entry["id"] in ("r1", "r4")]
    write_lines(tmp_path / "part.jsonl", *some)
    (tmp_path / "part.jsonl.run.json").write_text(json.dumps(RUN))
    run(lira, source, tmp_path / "part.jsonl", **drawing)
    assert {entry["id"]: entry["text"] for entry in read(tmp_path / "part.jsonl")} == whole
    assert len(set(whole.values())) > 1


def test_a_full_disk_leaves_whole_lines(lira, photos, tmp_path):
    """The limit on the size of files stands for the disk."""
    source, out = write_lines(tmp_path / "in.jsonl", *questions(photos, 8)), tmp_path / "out.jsonl"
    run(lira, source, tmp_path / "all.jsonl")
    size = (tmp_path / "all.jsonl").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
        with pytest.raises(OSError, match=r"out\.jsonl could not be written"):
            run(lira, source, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    kept = read(out)
    assert 0 < len(kept) < 8 and out.read_text().endswith("\n")
    assert run(lira, source, out)[0] == 8 - len(kept)
    assert sorted(entry["id"] for entry in read(out)) == [f"r{index}" for index in range(8)]


def test_a_batch_that_fails_is_asked_one_by_one(lira, photos, tmp_path, monkeypatch):
    """One record breaks whatever batch it is in; the others are answered as ever, each once."""
    asked = [*questions(photos, 11), {"id": "gone", "image": "gone.png", "question": "?"}]
    source = write_lines(tmp_path / "in.jsonl", *asked)
    requests = type(lira).requests

    def breaking(self, samples, encode=None):
        if any(
            "very very very red" in sample.question and "very very very very" not in sample.question
            for sample in samples
        ):
            raise RuntimeError("out of memory")
        return requests(self, samples, encode)

    run(lira, source, tmp_path / "sound.jsonl")
    monkeypatch.setattr(type(lira), "requests", breaking)
    assert run(lira, source, tmp_path / "out.jsonl") == (12, 2)
    entries = {entry["id"]: entry for entry in read(tmp_path / "out.jsonl")}
    assert len(entries) == len(read(tmp_path / "out.jsonl")) == 12 and "memory" in entries["r3"]["error"]
    for entry in read(tmp_path / "sound.jsonl"):
        if entry["id"] != "r3":
            assert entries[entry["id"]]["text"] == entry["text"]


def test_an_image_that_breaks_the_pipeline_is_an_entry(lira, photos, tmp_path, monkeypatch):
    source = write_lines(tmp_path / "in.jsonl", *questions(photos, 5))
    sample = type(lira).sample

    def breaking(self, prompt, **settings):
        if settings["index"] == 2:
            raise MemoryError
        return sample(self, prompt, **settings)

    monkeypatch.setattr(type(lira), "sample", breaking)
    assert run(lira, source, tmp_path / "out.jsonl") == (5, 1)
    assert [entry["id"] for entry in read(tmp_path / "out.jsonl") if entry["error"]] == ["r2"]


def test_two_records_of_one_id(photos, tmp_path):
    entry = questions(photos, 1)[0]
    with pytest.raises(ValueError, match="index 0 and 1 have the same id 'r0'"):
        LabelInput(write_lines(tmp_path / "in.jsonl", entry, entry))


def test_inputs_that_there_are_not(photos, tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        LabelInput(tmp_path / "no_such.jsonl")
    for path, asked, said in [
        (write_lines(tmp_path / "empty.jsonl"), [], "no record"),
        (photos, [], "--question"),
        (photos, [" "], "empty"),
        (photos / "notes.txt", ["?"], "no folder"),
        (tmp_path, ["?"], "no record"),
        (write_lines(tmp_path / "in.jsonl", *questions(photos)), ["?", "!"], "one question"),
    ]:
        with pytest.raises(ValueError, match=said):
            LabelInput(path, asked)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="bad.parquet cannot be read"):
        LabelInput(tmp_path / "bad.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="no column image or question"):
        LabelInput(tmp_path / "other.parquet")


def test_outputs_that_are_not_gone_on_with(lira, photos, tmp_path):
    source, out = write_lines(tmp_path / "in.jsonl", *questions(photos, 2)), tmp_path / "out.jsonl"
    with pytest.raises(ValueError, match="must end with"):
        open_output(tmp_path / "out.csv", RUN)
    run(lira, source, out)
    with pytest.raises(ValueError, match="model was 'tiny' and is 'large'"):
        open_output(out, {"model": "large"})
    with open_output(out, RUN), pytest.raises(BlockingIOError, match="another process"):
        open_output(out, RUN)
    (tmp_path / "mine.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="not by this command"):
        open_output(tmp_path / "mine.jsonl", RUN)
    out.write_text('{"id": "r0"}\nnonsense\n')
    with pytest.raises(ValueError, match="line 2 is no entry"):
        open_output(out, RUN)
    assert np.all([path.exists() for path in (source, out)])
