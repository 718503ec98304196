"""The model ``lira`` of VLMEvalKit, over a stand-in of its base class, or the class itself where it is installed."""

import re
import sys
import types
from importlib.util import find_spec
from runpy import run_path

import numpy as np
import pytest
from PIL import Image
from support.inferencer_fixtures import leave_no_trace, lira
from support.paths import ROOT

__all__ = ["leave_no_trace", "lira"]

FOLDER = ROOT / "projects" / "vlmevalkit"


class Base:
    """What VLMEvalKit's ``BaseModel`` does with a message before ``generate_inner`` gets it."""

    allowed_types = ["text", "image", "video"]

    def __init__(self):
        self.dump_image_func = None

    def generate(self, message, dataset=None):
        assert all(item["type"] in self.allowed_types for item in message)
        return self.generate_inner(message, dataset)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A checkout whose ``run.py`` asks its model one question of a file, and its package."""
    known = {"vlmeval": {}, "vlmeval.vlm": {}, "vlmeval.vlm.base": {"BaseModel": Base}}
    if not find_spec("vlmeval"):
        for name, content in (known | {"vlmeval.config": {"supported_VLM": {}}}).items():
            stand_in = types.ModuleType(name)
            vars(stand_in).update(content)
            monkeypatch.setitem(sys.modules, name, stand_in)
    folder = tmp_path / "VLMEvalKit"
    folder.mkdir()
    (folder / "run.py").write_text(
        "import sys\n"
        "from vlmeval.config import supported_VLM\n"
        "assert __name__ == '__main__' and sys.argv[1:3] == ['--model', 'lira']\n"
        "message = [dict(type='image', value=sys.argv[4]), dict(type='text', value='What?')]\n"
        "said = supported_VLM['lira']().generate(message, 'MME')\n"
        "open(sys.argv[6], 'w').write(said)\n"
    )
    return folder


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.fixture
def model(kit, lira, monkeypatch):
    module = run_path(str(FOLDER / "run_lira.py"), run_name="run_lira")
    kind = module["LIRAForVLMEvalKit"]
    monkeypatch.setitem(kind.__init__.__globals__, "LIRAInferencer", lambda *args, **options: lira)
    return kind("recipe", "checkpoint", max_new_tokens=6)


def test_the_text_of_a_message_is_asked_about_its_image(model, lira, picture):
    message = [
        {"type": "image", "value": picture},
        {"type": "text", "value": "Look."},
        {"type": "text", "value": "What is it?"},
    ]
    expected = lira(picture, "Look.\nWhat is it?", ilvc=False, max_new_tokens=6)[0].text
    assert model.generate(message, "MME") == expected != ""
    alone = lira(None, "Who are you?", ilvc=False, max_new_tokens=6)[0].text
    assert model.generate([{"type": "text", "value": "Who are you?"}]) == alone


def test_what_cannot_be_asked_is_named(model, picture):
    image, text = {"type": "image", "value": picture}, {"type": "text", "value": "Which is it?"}
    with pytest.raises(ValueError, match="MMMU: 'Which is it.': it is about 2 images, and LIRA takes one"):
        model.generate([image, text, image], "MMMU")
    with pytest.raises(AssertionError):
        model.generate([{"type": "video", "value": "a.mp4"}, text], "MVBench")


def test_their_command_runs_the_model(kit, lira, picture, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("lira_plugin.inference.LIRAInferencer", lambda *args, **options: asked.append(args) or lira)
    options = ["--data", picture, "--work-dir", str(tmp_path / "said.txt")]
    monkeypatch.setattr(
        sys, "argv", ["run_lira.py", str(kit), "lira_2b", "lira.pth", *options, "--max-new-tokens", "4"]
    )
    run_path(str(FOLDER / "run_lira.py"), run_name="__main__")
    assert (tmp_path / "said.txt").read_text() == lira(picture, "What?", ilvc=False, max_new_tokens=4)[0].text
    assert asked == [("lira_2b", "lira.pth")]


def test_the_readme_runs_what_is_there():
    text = (FOLDER / "README.md").read_text()
    for path in re.findall(r"(?:projects|configs|tools)/[\w/]+\.py", text):
        assert (ROOT / path).is_file(), path
