"""Commands that end with an expected error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def ends_with_error(capsys: pytest.CaptureFixture, message: str) -> Iterator[None]:
    """What is run inside ends with exit code 2, and its last line on standard error is ``NAME: error: ...``.

    Args:
        capsys: of the test.
        message: a regular expression that is found in that line.
    """
    with pytest.raises(SystemExit) as end:
        yield
    said = capsys.readouterr().err
    *others, line = said.splitlines()
    assert end.value.code == 2, end.value.code
    assert re.search(r"^[\w.-]+( [\w.-]+)?: error: ", line) and re.search(message, line), said
    assert "Traceback" not in said and not others, said
