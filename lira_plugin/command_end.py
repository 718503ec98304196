"""How every command ends: what was to be expected as one line and exit code 2, a bug with its traceback."""

import argparse
import linecache
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import NoReturn

DEBUG = "--debug"
"""The option of every command that shows the traceback of an expected error too."""
VARIABLE = "LIRA_DEBUG"
"""The environment variable that says the same, with any value but "" and "0"."""

_EXPECTED = (OSError, ValueError, ImportError, MemoryError, EOFError, SyntaxError, FloatingPointError, UnpicklingError)
"""What files, folders, settings and a machine bring about."""
_PACKAGE = Path(__file__).parent
_FROM_WORKER = re.compile(r"^Caught \w+ in .+ process \d+\.\n")
"""How the message of an error begins that torch brings from another process; its last line is the message itself."""


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command, whose name and arguments are in ``sys.argv``.

    Args:
        main: does the work; what it returns is the exit code, None is success.

    Raises:
        SystemExit: the command has an exit code. It is 2 after an expected error.
    """
    debug = _takes_debug()
    with _short_usage():
        try:
            code = main()
            sys.stdout.flush()
        except BrokenPipeError:  # such as `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except KeyboardInterrupt:
            if debug:
                raise
            sys.exit(128 + signal.SIGINT)
        except SystemExit as end:
            if isinstance(end.code, str):
                _end(end.code, debug)
            raise
        except Exception as error:
            if is_expected(error):
                _end(message_of(error), debug)
            raise
    if code is not None:
        sys.exit(code)


def is_expected(error: BaseException) -> bool:
    """Whether an error comes of what was given to a command, and is no bug."""
    if isinstance(error, (*_EXPECTED, argparse.ArgumentError)) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | LookupError | TypeError) and _is_raised_on_purpose(error)


def message_of(error: BaseException) -> str:
    """The message of an error in one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        said = f"{error.filename}: {error.strerror}"
    elif isinstance(error, KeyError) and error.args:
        said = str(error.args[0])
    else:
        said = str(error)
    if _FROM_WORKER.match(said):
        said = said.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(said.split()) or {MemoryError: "out of memory"}.get(type(error), type(error).__name__)


def _is_raised_on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` of this package, or of MMEngine's registries and configs, is where an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, NotImplementedError):
        return False
    path, line = Path(frames[-1].filename), linecache.getline(frames[-1].filename, frames[-1].lineno or 0)
    ours = path.is_relative_to(_PACKAGE) or path.is_relative_to(_PACKAGE.parent / "tools")
    mmengines = path.parent.parts[-2:] in (("mmengine", "registry"), ("mmengine", "config"))
    return (ours or (mmengines and not isinstance(error, TypeError))) and line.strip().startswith("raise ")


def _takes_debug() -> bool:
    """Whether tracebacks are asked for; the option is taken out of the arguments, which no parser knows it by."""
    if DEBUG in sys.argv[1:]:
        sys.argv = [sys.argv[0], *(argument for argument in sys.argv[1:] if argument != DEBUG)]
        return True
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def _end(message: str, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {' '.join(message.split())}\n")
    sys.exit(2)


@contextmanager
def _short_usage() -> Iterator[None]:
    """Let wrong arguments be answered in one line too: argparse would put all options above it."""

    def error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
        parser.exit(2, f"{parser.prog}: error: {message} (`{parser.prog} --help` says more)\n")

    before = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = error
    try:
        yield
    finally:
        argparse.ArgumentParser.error = before
