import pytest

from lira_plugin.datasets.grounding_dataset import STEPS, build_pipeline


def step(name):
    return lambda results: [*results, name]


def test_steps_by_name_run_in_their_order_whatever_that_of_the_keys():
    for names in (STEPS, sorted(STEPS), STEPS[::-1]):
        assert build_pipeline({name: step(name) for name in names})([]) == list(STEPS)
    assert build_pipeline({"pack": step("pack"), "load": step("load")})([]) == ["load", "pack"]


def test_steps_in_a_list_run_as_they_stand():
    assert build_pipeline([step("b"), step("a")])([]) == ["b", "a"]
    assert build_pipeline(None)("untouched") == "untouched"


def test_an_unknown_name_has_no_place():
    with pytest.raises(ValueError, match=r"\['flip'\]; give a list"):
        build_pipeline({"load": step("load"), "flip": step("flip")})
