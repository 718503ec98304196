import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from lira_plugin.datasets.safe_pickle import safe_load

PLAIN = [{"ref_id": 7, "area": 1.5, "sents": ["a", "ü"], "box": (1, 2), "crowd": False, "none": None, "big": 2**70}]


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read_in_every_protocol(tmp_path, protocol):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    assert safe_load(path) == PLAIN


def test_ordered_dicts_are_read(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(OrderedDict(b=1, a=2)))
    assert list(safe_load(path)) == ["b", "a"]


@pytest.mark.parametrize(("raw", "text"), [("männlich".encode(), "männlich"), (b"caf\xe9", "café")])
def test_python_2_strings(tmp_path, raw, text):
    path = tmp_path / "refs.p"
    # protocol 2 as Python 2 writes it: PROTO 2, SHORT_BINSTRING, STOP
    path.write_bytes(b"\x80\x02U" + bytes([len(raw)]) + raw + b".")
    assert safe_load(path) == text


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_does_not_run(tmp_path, protocol):
    witness = tmp_path / "ran"
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([Payload(f"touch '{witness}'")], protocol))
    with pytest.raises(pickle.UnpicklingError, match=r"system") as error:
        safe_load(path)
    assert str(path) in str(error.value)
    assert not witness.exists()
    with path.open("rb") as file:  # the payload is alive: the ordinary unpickler does run it
        pickle.load(file)
    assert witness.exists()


def test_numpy_numbers_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([np.float64(1)]))
    with pytest.raises(pickle.UnpicklingError, match=r"refs\.p.*numpy.*\.item\(\)"):
        safe_load(path)


def test_builtins_are_refused(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(b"cbuiltins\neval\n(S'1+1'\ntR.")
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.eval"):
        safe_load(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(PLAIN)[:-5]])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "refs.p"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"refs\.p is not a readable pickle"):
        safe_load(path)


def test_a_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        safe_load(tmp_path / "refs.p")
