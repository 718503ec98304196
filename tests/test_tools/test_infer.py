"""The infer command: what it prints and writes, and that its words are understood."""

import json
import os
import re
import runpy
import signal
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.tiny_model import write_image
from support.tiny_recipes import tiny_recipe

from lira_plugin import inference

TOOL = Path(__file__).resolve().parents[2] / "tools" / "infer.py"


@pytest.fixture
def infer(monkeypatch, capsys):
    """Run the command; the model is a tiny one, whatever is named."""

    def find(model, weights):
        asked.append((model, weights))
        return tiny_recipe(), None

    asked = []
    torch.manual_seed(0)
    monkeypatch.setattr(inference.inferencer, "find_recipe", find)

    def infer(*arguments):
        monkeypatch.setattr(sys, "argv", ["infer.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(TOOL), run_name="__main__")
        said = capsys.readouterr()
        infer.code, infer.err = end.value.code, said.err
        return said.out

    infer.asked = asked
    return infer


def test_answers_are_printed_and_written(infer, tmp_path):
    images = [write_image(tmp_path, "a", 20, 30), write_image(tmp_path, "b", 30, 20)]
    printed = infer(
        *images, "please segment the Dog", "--model", "recipe.py", "--weights", "w.pth", "--force", "--out-dir",
        tmp_path / "out", "--threshold", "0.4", "--batch-size", "2",
    )  # fmt: skip
    assert infer.asked == [("recipe.py", "w.pth")]
    lines = printed.splitlines()
    for image in images:
        place = lines.index(f"{image}: please segment the Dog")
        assert lines[place + 1] == "the dog"
        assert lines[place + 2].startswith("  [0:7] the dog  score ") and lines[place + 2].endswith("%)")
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(row["image"], row["size"]) for row in rows] == [(images[0], [20, 30]), (images[1], [30, 20])]
    assert all(Image.open(tmp_path / "out" / row["overlay"]) for row in rows)


def test_the_answer_can_be_watched(infer, tmp_path):
    image = write_image(tmp_path, "a", 20, 30)
    arguments = ("--model", "work_dir", "--sample", "--max-new-tokens", 3, "--no-ilvc", "--seed", 4)
    streamed = infer(image, "Please segment the dog.", *arguments, "--stream", "--force", "--out-dir", tmp_path / "out")
    assert streamed.startswith(f"{image}: Please segment the dog.\nthe dog\n  [0:7] the dog  score")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())[0]["raw_text"] == "<p> the dog </p> <seg>"
    assert "cut off" in infer(image, "What is this?", *arguments)


def test_questions_from_a_file(infer, tmp_path):
    write_image(tmp_path, "a", 20, 30)
    (tmp_path / "q.jsonl").write_text('{"image": "a.png", "question": "Please segment it."}')
    assert "a.png: Please segment it.\nit\n" in infer(tmp_path / "q.jsonl", "--model", "x", "--force")


def test_a_model_is_compiled_where_that_is_asked_for(infer, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(inference.inferencer, "compile_parts", lambda model, backend: compiled.append(backend))
    asked = (write_image(tmp_path, "a", 20, 30), "q", "--model", "recipe.py", "--max-new-tokens", "1")
    infer(*asked)
    assert not compiled
    infer(*asked, "--compile")
    assert compiled == ["inductor"]


def test_photographs_and_weights_of_16_bits(infer, tmp_path):
    """Colour, grey and one that is turned by its EXIF orientation, from scikit-image's wheel."""
    folder = Path(pytest.importorskip("skimage").__file__).parent / "data"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "rocket.jpg") as photo:
        photo.save(tmp_path / "turned.jpg", exif=exif)
        turned = list(photo.size)
    infer(
        folder / "chelsea.png", folder / "camera.png", tmp_path / "turned.jpg", "Please segment the thing.", "--model", "m",
        "--force", "--dtype", "bfloat16", "--out-dir", tmp_path / "out",
    )  # fmt: skip
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["size"] for row in rows] == [[300, 451], [512, 512], turned]
    for row in rows:
        [span] = row["spans"]
        with Image.open(tmp_path / "out" / span["mask"]) as mask:
            assert list(mask.size[::-1]) == row["size"] == span["segmentation"]["size"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--model", "m"], "question"),
        (["a.png", "What?"], "--model or --weights"),
        (["a.png", TOOL, "--model", "m"], "infer.py is a file"),
        (["a.png", "What is this? " * 100], "--model or --weights"),
    ],
)
def test_what_is_missing_is_said(infer, arguments, message):
    infer(*arguments)
    assert infer.code == 2 and message in infer.err


def test_an_address_is_fetched_only_where_that_is_allowed(infer, tmp_path):
    write_image(tmp_path, "a", 20, 30)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/a.png"
        asked = (url, "Please segment the dog.", "--model", "m", "--force", "--stream", "--out-dir", tmp_path / "out")
        printed = infer(*asked, "--allow-urls")
        server.shutdown()
    assert printed.startswith(f"{url}: Please segment the dog.\nthe dog") and infer.code == 0
    [row] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert row["image"] == url and row["size"] == [20, 30]
    pairs = runpy.run_path(str(TOOL))["pairs"]
    with pytest.raises(ValueError, match="--allow-urls"):
        pairs([url, "What?"], False)


def test_an_image_that_cannot_be_read_is_an_entry_with_its_error(infer, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = write_image(tmp_path, "a", 20, 30)
    arguments = ("--model", "m", "--force", "--out-dir", tmp_path / "out")
    for more in ((), ("--overwrite", "--stream")):
        printed = infer(tmp_path / "broken.png", good, "Please segment it.", *arguments, *more)
        assert infer.code == 1 and "1 answers" in printed and "1 of 2 questions could not be answered" in infer.err
        broken, answered = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert "broken.png" in broken["error"] and broken["spans"] == [] and broken["index"] == 0
        assert answered["image"] == good and answered["error"] is None and len(answered["spans"]) == 1
    infer(tmp_path / "broken.png", "Please segment it.", "--model", "m", "--force")
    assert infer.code == 2 and re.fullmatch(r"infer\.py: error: .*broken\.png.*\n", infer.err), "nothing else was asked"
    infer(tmp_path / "none.png", "Please segment it.", "--model", "m")
    assert infer.code == 2 and re.fullmatch(r"infer\.py: error: .*none\.png.*\n", infer.err)


def test_earlier_answers_are_not_replaced_unasked(infer, tmp_path):
    images = [write_image(tmp_path, name, 20, 30) for name in "ab"]
    out = tmp_path / "out"
    infer(*images, "Please segment it.", "--model", "m", "--force", "--out-dir", out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    infer(images[0], "Please segment it.", "--model", "m", "--force", "--out-dir", out)
    assert infer.code == 2 and re.search(r"^infer\.py: error: .*predictions\.json.*earlier run.*--overwrite", infer.err)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    infer(images[1], "Please segment it.", "--model", "m", "--force", "--out-dir", out, "--overwrite")
    assert len(json.loads((out / "predictions.json").read_text())) == len(list((out / "masks").iterdir())) == 1


def test_a_command_that_is_asked_to_end_keeps_its_answers(infer, tmp_path, monkeypatch):
    images = [write_image(tmp_path, name, 20, 30) for name in "ab"]
    iterate = inference.LIRAInferencer.iterate

    def ended(*arguments, **settings):
        for result in iterate(*arguments, **settings):
            yield result
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    monkeypatch.setattr(inference.LIRAInferencer, "iterate", ended)
    handlers = {which: signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGHUP)}
    try:
        infer(
            *images, "Please segment it.", "--model", "m", "--force", "--out-dir", tmp_path / "out", "--batch-size", 1
        )
    finally:
        for which, handler in handlers.items():
            signal.signal(which, handler)
    assert infer.code == 128 + signal.SIGTERM
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    [line] = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line) == entry and entry["image"] in images
