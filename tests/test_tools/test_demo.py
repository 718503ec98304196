"""The demo command: what it asks for. The page has tests of its own (tests/test_demo)."""

import runpy
from importlib import util
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "demo.py"


@pytest.fixture
def parse(monkeypatch):
    def parse(*arguments, gradio=True):
        monkeypatch.setattr(util, "find_spec", lambda name: object() if gradio else None)
        return runpy.run_path(str(TOOL))["parse_args"](list(arguments))

    return parse


def test_others_are_not_let_in_unless_told_so(parse):
    assert parse("--model", "work_dir").host == "127.0.0.1"
    assert parse("--model", "work_dir", "--host", "0.0.0.0").host == "0.0.0.0"


def test_names_that_the_demo_is_reached_by_can_be_added(parse):
    assert parse("--model", "m").allow_host == []
    names = parse("--model", "m", "--allow-host", "demo.example", "--allow-host", "localhost:8080").allow_host
    assert names == ["demo.example", "localhost:8080"]


@pytest.mark.parametrize(
    ("arguments", "gradio", "message"),
    [
        ([], True, "--model or --weights"),
        (["--model", "m"], False, "uv sync --extra demo"),
        (["--model", "m", "--max-megapixels", "200"], True, "images of up to 178"),
        (["--model", "m", "--max-megapixels", "0"], True, "images of up to 178"),
    ],
)
def test_what_is_missing_is_said(parse, capsys, arguments, gradio, message):
    with pytest.raises(SystemExit):
        parse(*arguments, gradio=gradio)
    assert message in capsys.readouterr().err
