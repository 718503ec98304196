"""The arguments of the server and of labelling, and the files of deploy/ that name them."""

import ast
import runpy
import sys
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from support.paths import ROOT

from lira_plugin import inference
from lira_plugin.serving import model_thread

DEPLOY = ROOT / "deploy"


def load_tool(name):
    """The names that a tool has, by attribute."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / f"{name}.py")))


def parse(name, *arguments):
    return load_tool(name).parse_args(list(arguments))


def test_a_model_is_needed(capsys):
    for name, arguments in [("serve", []), ("label", ["in.jsonl", "out.jsonl"])]:
        with pytest.raises(SystemExit):
            parse(name, *arguments)
        assert "which model" in capsys.readouterr().err


def test_what_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        parse("label", "in.jsonl", "out.jsonl", "--model", "m", "--ray")
    assert "--extra ray" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse("serve", "work_dir")
    assert "--extra serve" in capsys.readouterr().err


def test_an_output_inside_of_the_input_is_refused(tmp_path, capsys):
    """A later run would take it for what it is to label."""
    with pytest.raises(SystemExit):
        parse("label", str(tmp_path), str(tmp_path / "out.parquet"), "--model", "m")
    assert "choose another folder" in capsys.readouterr().err
    assert parse("label", str(tmp_path), str(tmp_path.parent / "out.parquet"), "--model", "m").ray is None


def test_the_model_is_compiled_where_that_is_asked_for(monkeypatch, capsys):
    found = []

    def end(load, *settings):
        found.append(load.keywords["compile"])
        raise SystemExit

    monkeypatch.setattr(model_thread, "ModelThread", end)
    monkeypatch.setattr(inference, "find_recipe", lambda model, weights: None)
    for arguments in (["work_dir"], ["work_dir", "--compile"]):
        monkeypatch.setattr(sys, "argv", ["serve", *arguments])
        with pytest.raises(SystemExit):
            load_tool("serve").main()
    assert found == [False, True]
    with pytest.raises(SystemExit):
        parse("serve", "work_dir", "--compile", "--quantize", "nf4")
    assert "cannot compile weights of 4 bits" in capsys.readouterr().err


def test_tokens_come_from_a_file_and_the_environment(tmp_path, monkeypatch):
    tool = load_tool("serve")
    monkeypatch.delenv(tool.TOKENS, raising=False)
    assert tool.tokens_of(None) == []
    file = tmp_path / "tokens"
    file.write_text("first\n\n second \n")
    monkeypatch.setenv(tool.TOKENS, "third")
    assert tool.tokens_of(file) == ["first", "second", "third"]
    monkeypatch.setenv(tool.TOKENS, "")
    file.write_text("\n")
    with pytest.raises(ValueError, match="no token"):
        tool.tokens_of(file)


def test_a_misspelt_model_ends_the_command_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["serve", str(tmp_path / "no_such.py")])
    with pytest.raises(FileNotFoundError, match="no_such"):
        load_tool("serve").main()


def test_the_container_of_kubernetes_has_arguments_of_the_server():
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    args = parse("serve", *container["args"])
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert args.drain_seconds < grace and args.allow_host == ["lira", "lira.example"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["ports"][0]["containerPort"] == args.port == service["spec"]["ports"][0]["port"]
    assert container["env"][0]["name"] == load_tool("serve").TOKENS


def test_the_other_files_name_what_there_is():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["lira"]
    assert (DEPLOY / compose["build"]["context"] / compose["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert load_tool("serve").TOKENS in compose["environment"]
    text = (DEPLOY / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["lira", "serve", "--host", "0.0.0.0"]' in text and "USER lira" in text
    imported = [
        node for node in ast.walk(ast.parse((DEPLOY / "ray_serve.py").read_text())) if isinstance(node, ast.ImportFrom)
    ]
    for node in imported:
        if node.module.startswith("lira_plugin"):
            path = Path(ROOT, *node.module.split("."))
            source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
            assert all(alias.name in source.read_text() for alias in node.names)
