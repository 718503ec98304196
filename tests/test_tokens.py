import logging

import pytest
from support.tiny_model import tiny_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from lira_plugin import tokens
from lira_plugin.tokens import SpecialTokens, load_tokenizer


def tokenizer_of(words: list[str], unknown: str | None = "<unk>") -> PreTrainedTokenizerFast:
    """A tokenizer that splits at blanks and punctuation and knows only ``words``."""
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*([unknown] if unknown else []), *words]))}
    model = WordLevel(vocabulary, unk_token=unknown) if unknown else WordLevel(vocabulary)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


def test_two_tokenizers_with_other_ids_both_resolve():
    tokens = SpecialTokens()
    found = []
    for words in (["cat"], ["cat", "dog", "a", "red", "<", ">"]):
        tokenizer = tokenizer_of(words)
        size = len(tokenizer)
        assert tokens.add_to(tokenizer) == 4
        ids = tokens.resolve(tokenizer, embedding_size=len(tokenizer))
        assert sorted(ids) == list(range(size, size + 4))
        assert tokenizer.convert_ids_to_tokens(list(ids)) == ["<seg>", "<image_id>", "<p>", "</p>"]
        found.append(ids)
    assert found[0] != found[1]


def test_adding_again_adds_nothing():
    tokenizer = tokenizer_of(["cat"])
    tokens = SpecialTokens()
    tokens.add_to(tokenizer)
    before = tokens.resolve(tokenizer)
    assert tokens.add_to(tokenizer) == 0
    assert tokens.resolve(tokenizer) == before


def test_the_published_order_and_spelling():
    tokens = SpecialTokens(seg="[SEG]", reserved=("<region>", "<mark>"))
    tokenizer = tokenizer_of(["cat"])
    tokens.add_to(tokenizer)
    first = tokenizer.convert_tokens_to_ids("[SEG]")
    assert tokenizer.convert_ids_to_tokens(list(range(first, first + 6))) == [
        "[SEG]",
        "<p>",
        "</p>",
        "<region>",
        "<mark>",
        "<image_id>",
    ]
    assert tokens.resolve(tokenizer).image_id == first + 5


@pytest.mark.parametrize("unknown", ["<unk>", None])
def test_a_missing_token_is_an_error(unknown):
    with pytest.raises(ValueError, match=r"'<seg>' \(seg\) is not in the vocabulary of the tokenizer"):
        SpecialTokens().resolve(tokenizer_of(["cat"], unknown))


def test_another_spelling_than_the_vocabulary_is_an_error():
    tokenizer = tokenizer_of(["cat"])
    SpecialTokens().add_to(tokenizer)
    with pytest.raises(ValueError, match=r"'\[SEG\]'"):
        SpecialTokens(seg="[SEG]").resolve(tokenizer)


def test_a_token_that_is_known_but_split_is_an_error():
    tokenizer = tokenizer_of(["cat", "<seg>", "<", "seg", ">"])
    tokenizer.add_tokens(["<image_id>", "<p>", "</p>"], special_tokens=True)
    with pytest.raises(ValueError, match=r"'<seg>' \(seg\) is split .* into ids \[3, 4, 5\], expected the single id 2"):
        SpecialTokens().resolve(tokenizer)


def test_shared_ids_are_an_error():
    tokens = SpecialTokens(seg="<p>")
    tokenizer = tokenizer_of(["cat"])
    tokens.add_to(tokenizer)
    with pytest.raises(ValueError, match="distinct"):
        tokens.resolve(tokenizer)


def test_an_added_token_that_takes_an_id_behind_a_gap_is_an_error():
    """Tokenizers number added tokens from the size of the vocabulary on, whatever ids it has."""
    vocabulary = {"<unk>": 0, "<seg>": 1, "<p>": 2, "</p>": 3, "cat": 5}
    core = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    with pytest.raises(ValueError, match="5 is that of 'cat' too"):
        load_tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>"))


def test_an_id_outside_the_embedding_is_an_error():
    tokenizer = tokenizer_of(["cat"])
    tokens = SpecialTokens()
    tokens.add_to(tokenizer)
    tokens.resolve(tokenizer, embedding_size=len(tokenizer))
    with pytest.raises(ValueError, match=r"'<image_id>' .* embeds only 5 ids"):
        tokens.resolve(tokenizer, embedding_size=len(tokenizer) - 1)


def test_load_tokenizer_takes_a_config_and_a_spelling():
    tokenizer, ids, _ = load_tokenizer({"type": tokenizer_of, "words": ["cat"]}, {"seg": "[SEG]"})
    assert tokenizer("cat [SEG]")["input_ids"] == [1, ids.seg]


@pytest.fixture
def warnings(monkeypatch):
    """What is logged as a warning."""
    messages = []

    def print_log(message, logger, level):
        assert (logger, level) == ("current", logging.WARNING)
        messages.append(message)

    monkeypatch.setattr(tokens, "print_log", print_log)
    return messages


def test_tokens_that_are_added_are_logged(warnings):
    tokenizer = tokenizer_of(["cat"])
    tokenizer.add_tokens(["<p>", "</p>"], special_tokens=True)
    _, ids, first_new = load_tokenizer(tokenizer)
    assert first_new == ids.seg == len(tokenizer) - 2
    [message] = warnings
    assert "added the special tokens '<seg>', '<image_id>'" in message and "'<p>'" not in message
    assert load_tokenizer(tokenizer).first_new is None
    assert len(warnings) == 1, "nothing is added the second time"


def test_the_warning_names_the_spelling_of_the_vocabulary(warnings):
    tokenizer = tokenizer_of(["seg", "cat"])
    tokenizer.add_tokens(["[SEG]", "<p>", "</p>"], special_tokens=True)
    load_tokenizer(tokenizer)
    [message] = warnings
    assert "for '<seg>' its vocabulary has '[SEG]'" in message and "'seg'" not in message


def test_a_missing_token_may_be_refused_with_the_spellings_that_are_there():
    tokenizer = tokenizer_of(["cat", "seg", "segment"])
    tokenizer.add_tokens(["[SEG]", "<|seg|>", "<p>", "</p>"], special_tokens=True)
    size = len(tokenizer)
    with pytest.raises(ValueError, match=r"lacks .*'<seg>', '<image_id>' \(for '<seg>' .* '<\|seg\|>', '\[SEG\]'\)"):
        load_tokenizer(tokenizer, {"add_missing": False})
    assert len(tokenizer) == size, "a refused tokenizer is left as it was"


def test_the_closing_token_is_no_spelling_of_the_opening_one():
    tokenizer = tokenizer_of(["cat"])
    tokenizer.add_tokens(["<seg>", "</p>", "<image_id>"], special_tokens=True)
    with pytest.raises(ValueError, match=r"lacks the special tokens '<p>': "):
        load_tokenizer(tokenizer, SpecialTokens(add_missing=False))


def test_nothing_is_refused_or_logged_where_all_tokens_are_there(warnings):
    tokenizer = tokenizer_of(["cat"])
    SpecialTokens().add_to(tokenizer)
    _, ids, _ = load_tokenizer(tokenizer, {"add_missing": False})
    assert ids == SpecialTokens().resolve(tokenizer) and not warnings


def test_a_tokenizer_can_be_named_by_a_dotted_path(tmp_path):
    """As in recipes that MMEngine has written out, where a class method has become a string."""
    tiny_tokenizer().save_pretrained(tmp_path)
    config = {"type": "transformers.AutoTokenizer.from_pretrained", "pretrained_model_name_or_path": str(tmp_path)}
    tokenizer, ids, _ = load_tokenizer(config)
    assert tokenizer.convert_tokens_to_ids("<seg>") == ids.seg
    assert config["type"], "the config is left as it is"
    with pytest.raises(ImportError, match=r"transformers\.AutoTokenizer\.from_nowhere"):
        load_tokenizer({"type": "transformers.AutoTokenizer.from_nowhere"})
