"""The text of a configuration is formatted once for every text that it has."""

import sys

from mmengine.config import Config, config
from support.paths import config_path
from yapf.yapflib.yapf_api import FormatCode

from lira_plugin.compat.config_text import remember

RECIPE = config_path("lira_2b")


def test_a_text_is_formatted_once_for_each_style():
    asked = []

    def format_code(text, style_config, verify=False):
        asked.append(text)
        return text.upper() + style_config["end"], verify

    formatted = remember(format_code)
    for _ in range(2):
        assert formatted("a", style_config={"end": "."}) == ("A.", False)
        assert formatted("a", style_config={"end": "!"}, verify=True) == ("A!", True)
        assert formatted("b", {"end": "."}) == ("B.", False)
    assert asked == ["a", "a", "b"]


def test_mmengine_formats_anew_only_what_has_changed(monkeypatch):
    asked = []

    def format_code(text, **options):
        asked.append(text)
        return FormatCode(text, **options)

    settings = {"model": {"type": "LIRA", "sizes": list(range(40))}}
    monkeypatch.setattr(config, "FormatCode", format_code)
    expected = Config(settings).pretty_text
    monkeypatch.setattr(config, "FormatCode", remember(format_code))
    cfg = Config(settings)
    assert [cfg.pretty_text, cfg.pretty_text] == [expected] * 2 and len(asked) == 2
    cfg.model.sizes = [1]
    assert cfg.pretty_text != expected and len(asked) == 3


def test_reading_a_recipe_is_enough(monkeypatch):
    monkeypatch.setattr(config, "FormatCode", FormatCode)
    monkeypatch.delitem(sys.modules, "lira_plugin.compat.config_text")
    Config.fromfile(RECIPE)
    assert config.FormatCode.__module__ == "lira_plugin.compat.config_text"
