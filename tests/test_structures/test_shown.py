import pytest

from lira_plugin.structures import shown


@pytest.mark.parametrize("value", ["1", 1, 1.0, None, True, float("nan"), [1, "1"], {"a": [1]}])
def test_short_values_are_their_repr(value):
    assert shown(value) == repr(value)


def test_long_deep_and_huge_values_end():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    assert shown(deep) == "[[[[...]]]]"
    assert len(shown("x" * 10**6)) < 200 and len(shown(list(range(10**6)))) < 200
    assert shown(10**5000) == f"a whole number of {(10**5000).bit_length()} bits"


def test_what_is_shown_can_be_written():
    assert shown({"a": "b\ud800\n"}).encode() == b"{'a': 'b\\ud800\\n'}"
