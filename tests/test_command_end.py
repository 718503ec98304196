"""How commands end: expected errors in one line with exit code 2, bugs with their traceback."""

import argparse
import errno
import sys
from pickle import UnpicklingError

import pytest
import torch
from mmengine.registry import Registry
from torch.utils.data import DataLoader

from lira_plugin import command_end
from lira_plugin.command_end import message_of, run_command
from lira_plugin.compat.mmcv_ops import _StandIn
from lira_plugin.settings import WrongSetting


@pytest.fixture
def end(monkeypatch, capsys):
    """Run a command named ``lira some`` that raises an error: its exit code, and what it has written to standard error."""
    monkeypatch.delenv("LIRA_DEBUG", raising=False)

    def end(error, *arguments):
        def main():
            if callable(error):
                return error()
            raise error

        monkeypatch.setattr(sys, "argv", ["lira some", *arguments])
        with pytest.raises(SystemExit) as caught:
            run_command(main)
        return caught.value.code, capsys.readouterr().err

    return end


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.jpg"), "a.jpg: No such file or directory"),
        (FileNotFoundError("there is no recipe at x"), "there is no recipe at x"),
        (PermissionError("closed"), "closed"),
        (ValueError("record 3\n  is broken"), "record 3 is broken"),
        (WrongSetting("threshold must be a number"), "threshold must be a number"),
        (ImportError("it needs gradio"), "it needs gradio"),
        (UnpicklingError("holds more"), "holds more"),
        (FloatingPointError("not finite"), "not finite"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (MemoryError(), "out of memory"),
        (SystemExit("give one"), "give one"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_was_to_be_expected_is_one_line(end, error, message):
    assert end(error) == (2, f"lira some: error: {message}\n")


@pytest.mark.parametrize(
    "error", [TypeError, AssertionError, KeyError, RuntimeError, AttributeError, NotImplementedError]
)
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    def main():
        raise error("a bug")

    monkeypatch.setattr(sys, "argv", ["lira some"])
    with pytest.raises(error):
        run_command(main)


def test_errors_that_this_package_or_mmengine_raises_on_purpose_are_expected(end):
    """A missing operator is a RuntimeError of ours, a part that is not registered a KeyError of MMEngine's."""
    code, said = end(lambda: _StandIn("mmcv._ext").nms_forward())
    assert (
        code == 2 and said.startswith("lira some: error: mmcv operator 'nms_forward' needs") and said.count("\n") == 1
    )
    code, said = end(lambda: Registry("thing").build({"type": "Nothing"}))
    assert code == 2 and said.startswith("lira some: error: Nothing is not in the") and said.count("\n") == 1


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("a.json, record 7: a mask is empty")


def test_an_error_of_a_worker_is_its_own_message(end):
    loader = DataLoader(Broken(), num_workers=1)
    assert end(lambda: list(loader)) == (2, "lira some: error: a.json, record 7: a mask is empty\n")


@pytest.mark.parametrize("variable", [False, True])
def test_the_traceback_is_there_on_request(end, monkeypatch, variable):
    def main():
        assert sys.argv[1:] == ["a.jpg"], "no parser has to know the option"
        raise ValueError("bad image")

    if variable:
        monkeypatch.setenv("LIRA_DEBUG", "1")
    code, said = end(main, "a.jpg", *(() if variable else ("--debug",)))
    assert code == 2 and said.startswith("Traceback") and said.endswith("\nlira some: error: bad image\n")
    monkeypatch.setenv("LIRA_DEBUG", "0")
    assert end(main, "a.jpg") == (2, "lira some: error: bad image\n")


def test_wrong_arguments_are_answered_in_one_line_too(end):
    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--count", type=int)
        parser.parse_args()

    before = argparse.ArgumentParser.error
    code, said = end(main, "--count", "many")
    assert code == 2 and said.startswith("lira some: error: argument --count: invalid int value: 'many'")
    assert said.count("\n") == 1 and "`lira some --help`" in said
    assert argparse.ArgumentParser.error is before


def test_exit_codes_are_those_of_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lira some"])
    run_command(lambda: None)
    for code in (0, 1):
        with pytest.raises(SystemExit) as caught:
            run_command(lambda code=code: code)
        assert caught.value.code == code


def test_who_interrupts_sees_no_traceback(end):
    assert end(KeyboardInterrupt()) == (130, "")


def test_the_message_of_an_error_without_one_is_its_name():
    assert message_of(EOFError()) == "EOFError"
    assert message_of(KeyError("Nothing is not registered")) == "Nothing is not registered"
    assert command_end.is_expected(argparse.ArgumentError(None, "wrong"))
