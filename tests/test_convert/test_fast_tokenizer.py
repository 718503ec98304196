"""The fast tokenizer against sentencepiece itself, called stretch by stretch between the added tokens."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.internvl_twin import ADDED_TOKENS, CHAT_TOKENS, RESERVED, TEXTS, train_sentencepiece, write_tokenizer
from transformers import AutoTokenizer

from lira_plugin.convert.fast_tokenizer import Piece, bpe_merges, internlm2_tokenizer, read_sentencepiece
from lira_plugin.tokens import SpecialTokens

pytestmark = pytest.mark.slow

CONTROL = {"<unk>": 0, "<s>": 1, "</s>": 2}
LETTERS = ("ab", "ab ", "abc ", "abcd")


class Reference:
    """Added tokens first, longest first; sentencepiece for each stretch between them."""

    def __init__(self, folder, pieces):
        self.pieces = pieces
        first = pieces.get_piece_size()
        self.ids = {token: first + number for number, token in enumerate(ADDED_TOKENS)} | CONTROL
        self.ids |= {token: pieces.piece_to_id(name) for token, name in zip(CHAT_TOKENS, RESERVED)}
        self.tokenizer = internlm2_tokenizer(folder)

    def encode(self, text):
        pattern = "|".join(re.escape(token) for token in sorted(self.ids, key=len, reverse=True))
        ids = []
        for stretch in re.split(f"({pattern})", text):
            ids += [self.ids[stretch]] if stretch in self.ids else self.pieces.encode(stretch)
        return ids

    def check(self, text):
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == self.encode(text), text
        if "▁" not in text:  # sentencepiece itself reads it as a space
            assert self.tokenizer.decode(ids) == text


def make(folder, **arguments):
    folder.mkdir(exist_ok=True)
    return Reference(folder, write_tokenizer(folder, train_sentencepiece(**arguments)))


@pytest.fixture(scope="module", params=[False, True], ids=["no prefix", "dummy prefix"])
def reference(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp("tokenizer"), add_dummy_prefix=request.param)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "   ",
        " leading",
        "trailing  ",
        "two  spaces",
        "\n",
        "\n\n  x\t\r\n",
        "请在图中分割穿红色衣服的人。",
        "龘 rare 字",
        "🐉👩‍👩‍👧 emoji é e\u0301",
        "a▁b",
        "\x00\x01\ufffd\U0010ffff",
        "<0x41> <unk <s > [UNUSED_TOKEN_",
        "<|im_start|>user\nhi<|im_end|><|im_start|>assistant\n",
        "<|im_start|><|im_start|>  <img><IMG_CONTEXT></img> x <s></s>",
        "<|im_start|<|im_end|>>",
        "[UNUSED_TOKEN_]",
        *TEXTS,
    ],
)
def test_ids_and_round_trip(reference, text):
    reference.check(text)


@settings(max_examples=150)
@given(
    st.lists(
        st.text(max_size=12)
        | st.sampled_from([*ADDED_TOKENS, *CHAT_TOKENS, *CONTROL, " ", "  ", "\n", "🙂", *TEXTS])
        | st.text("请在图中分割穿红色衣服的人 ", max_size=8)
        | st.text("abcdefghilmnorst ", max_size=20),
        max_size=8,
    )
)
def test_any_text(reference, parts):
    text = "".join(parts)
    reference.check(re.sub("|".join(map(re.escape, RESERVED)), "", text))


@pytest.mark.parametrize("letters", LETTERS)
def test_few_letters_where_merges_overlap(tmp_path, letters):
    """With two or three letters nearly every pair overlaps with an equal or a rival one."""
    rng = random.Random(letters)

    def text():
        runs = "".join(rng.choice(letters) * rng.randint(1, 9) for _ in range(5))
        return rng.choice([runs, "".join(rng.choices(letters, k=rng.randint(1, 40)))])

    model = train_sentencepiece([text() for _ in range(900)], max_sentencepiece_length=10)
    reference = Reference(tmp_path, write_tokenizer(tmp_path, model))
    assert len(bpe_merges(read_sentencepiece(tmp_path / "tokenizer.model").pieces, "model")) > 100
    for _ in range(1500):
        reference.check(text())


def test_user_defined_pieces_stay_whole(tmp_path):
    reference = make(tmp_path, user_defined_symbols=[*RESERVED, "[KEEP]", "[KEEPALL]", "▁▁▁", "\n\n"])
    for text in (
        "a[KEEP]b",
        "[KEEP",
        "[KEEPALL][KEEP] [KEEP]",
        " [KEEP]\n",
        "<|im_end|>[KEEP]",
        *("x" + " " * n for n in range(9)),
    ):
        reference.check(text)
    assert len(reference.tokenizer("[KEEPALL]", add_special_tokens=False)["input_ids"]) == 1


def test_bos_goes_in_front_and_nothing_behind(reference):
    tokenizer = reference.tokenizer
    assert tokenizer("a cat")["input_ids"] == [1, *reference.encode("a cat")]
    assert tokenizer("a", "b")["input_ids"] == [1, *reference.encode("a"), *reference.encode("b")]
    assert set(tokenizer("a cat")) == {"input_ids", "attention_mask"}, "what a Llama takes"


def test_special_tokens_have_their_roles(reference):
    tokenizer = reference.tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.unk_token_id == 0
    assert len(tokenizer) == reference.pieces.get_piece_size() + len(ADDED_TOKENS)
    ids = tokenizer("<|im_start|>hi<|im_end|>")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "hi"


def test_lira_tokens_come_after_the_published_ones(reference, tmp_path):
    reference.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    before = len(tokenizer)
    tokens = SpecialTokens(seg="[SEG]", reserved=("<region>", "<mark>"))
    assert tokens.add_to(tokenizer) == 6
    assert tokens.resolve(tokenizer, before + 6) == (before, before + 5, before + 1, before + 2)


def test_saved_and_loaded_without_remote_code(reference, tmp_path):
    reference.tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert "auto_map" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    for text in (*TEXTS, " <|im_start|> 龘🐉\n"):
        ids = loaded(text)["input_ids"]
        assert ids == [1, *reference.encode(text)]
        assert loaded.decode(ids[1:]) == text


def test_overlapping_pairs_are_merged_from_the_left():
    normal = [Piece(piece=text, score=-float(rank)) for rank, text in enumerate(["ab", "a", "b", "ba", "aba"])]
    merges = bpe_merges(normal, "model")
    assert merges.index(("ab", "a")) < merges.index(("a", "ba")), "ab|a|ba is read as aba|ba"


@pytest.mark.parametrize(
    "pieces",
    [
        [("a", 0), ("b", -1), ("ab", -5), ("ba", -5)],
        [("a", 0), ("ab", -5)],
    ],
    ids=["two pieces of one score", "b is no piece"],
)
def test_texts_that_may_be_split_otherwise_are_warned_about(pieces, monkeypatch):
    from lira_plugin.convert import fast_tokenizer as module

    said = []
    monkeypatch.setattr(module, "print_log", lambda message, **kwargs: said.append(message))
    bpe_merges([Piece(piece=text, score=score) for text, score in pieces], "x/tokenizer.model")
    assert len(said) == 1 and "x/tokenizer.model" in said[0]


def test_a_trained_model_is_not_warned_about(tmp_path, monkeypatch):
    from lira_plugin.convert import fast_tokenizer as module

    monkeypatch.setattr(module, "print_log", lambda message, **kwargs: pytest.fail(message))
    make(tmp_path)


def break_file(folder, name, change):
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "tokenizer.model").unlink(), FileNotFoundError, "has no tokenizer.model"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), FileNotFoundError, "no tokenizer_config.json"),
        (
            lambda folder: (folder / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes()[:-300]),
            ValueError,
            r"tokenizer\.model is no sentencepiece model",
        ),
        (
            lambda folder: (folder / "tokenizer.model").write_bytes(b""),
            ValueError,
            r"tokenizer\.model is no sentencepiece model .*no pieces",
        ),
        (lambda folder: (folder / "tokenizer_config.json").write_text('{"a": '), ValueError, "is not a JSON file"),
        (
            lambda folder: break_file(folder, "added_tokens.json", lambda ids: ids | {"<other>": ids["<img>"]}),
            ValueError,
            "in one file and '<other>' in another",
        ),
        (
            lambda folder: break_file(folder, "added_tokens.json", lambda ids: ids | {"<img>": 7}),
            ValueError,
            r"'<img>' has the id \d+ in one file and 7 in another",
        ),
        (
            lambda folder: break_file(folder, "added_tokens.json", lambda ids: ids | {"<far>": 1000}),
            ValueError,
            "'<far>' should have id 1000",
        ),
    ],
)
def test_bad_folders(tmp_path, spoil, error, message):
    write_tokenizer(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=message):
        internlm2_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization_rule_name": "nmt_nfkc"}, "normalises text"),
        ({"remove_extra_whitespaces": True}, "normalises text"),
        ({"model_type": "unigram", "vocab_size": 330}, "is no BPE model"),
        ({"add_dummy_prefix": True, "user_defined_symbols": [*RESERVED, "[KEEP]"]}, "user-defined pieces beside"),
    ],
)
def test_kinds_without_a_promise_are_refused(tmp_path, arguments, message):
    write_tokenizer(tmp_path, train_sentencepiece(**arguments))
    with pytest.raises(ValueError, match=message):
        internlm2_tokenizer(tmp_path)
