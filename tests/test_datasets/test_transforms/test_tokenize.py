"""Rows, labels and truncation of a sequence, against hand-written examples."""

import numpy as np
import pytest
import torch

from lira_plugin.datasets import ILVC, PackGroundingInputs, TokenizeConversation
from lira_plugin.datasets.transforms import GroundedPart, ImagePart, TextPart
from lira_plugin.structures import (
    IGNORE_INDEX,
    Conversation,
    PhraseSpan,
    Record,
    Region,
    TokenKind,
    Turn,
    VisualLayout,
    refer_turn,
)

TEMPLATE = {"system": "", "instruction": "<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n"} | {
    "suffix": "<|im_end|>"
}
LAYOUT = VisualLayout(tokens_per_tile=2, pixel_tokens=3, object_tokens=2)
SIZE, HEIGHT, WIDTH = 4, 12, 16


def results_of(turns, num_regions=3, num_tiles=3, prob=1.0, image=True, template=TEMPLATE, answers=True):
    masks = np.zeros((num_regions, HEIGHT, WIDTH), bool)
    for index, mask in enumerate(masks):
        mask[index : index + 5, 2 * index : 2 * index + 6] = True
    regions = tuple(Region(f"r{n}", (), category_id=10 + n) for n in range(num_regions))
    record = Record("refcoco/train", "77", "a.jpg" if image else None, Conversation(tuple(turns)), regions)
    results = {
        "record": record,
        "rng": np.random.default_rng(0),
        "image": np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) if image else None,
        "masks": masks,
        "tiles": torch.zeros((num_tiles if image else 0, 3, SIZE, SIZE), dtype=torch.uint8),
        "pixel_images": torch.zeros((int(image), 3, 8, 8), dtype=torch.uint8),
        "letterbox": None,
        "square_masks": torch.arange(num_regions)[:, None, None].expand(-1, 8, 8) > 0,
    }
    return ILVC(SIZE, template, prob=prob, answers=answers)(results)


def tokenize(tokenizer, turns, layout=LAYOUT, max_length=10_000, add_bos=True, **settings):
    transform = TokenizeConversation(tokenizer, layout, max_length=max_length, add_bos=add_bos)
    return transform(results_of(turns, **settings))


def rows_of(tokenizer, *pieces):
    """Expected ids, labels and kinds: a text with True is supervised, with False not; kinds are feature rows."""
    ids, labels, kinds = [], [], []
    for piece in pieces:
        if isinstance(piece, tuple):
            text, supervised = piece
            pieces_of_text = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += pieces_of_text
            labels += pieces_of_text if supervised else [-100] * len(pieces_of_text)
            kinds += [0] * len(pieces_of_text)
        else:
            ids += [tokenizer.pad_token_id] * len(piece)
            labels += [-100] * len(piece)
            kinds += piece
    return ids, labels, kinds


BLOCK = [1] * 6 + [2] + [3] * 3 + [4] + [5] * 2  # semantic rows of 3 tiles | separator | pixel | separator | objects
VIEW = [6] * 2


def check(result, expected):
    for key, wanted in zip(("input_ids", "labels", "kinds"), expected):
        assert result[key].dtype == torch.long
        assert result[key].tolist() == wanted, key


# Rows and labels


def test_referring_segmentation(make_tokenizer):
    tokenizer = make_tokenizer()
    result = tokenize(tokenizer, [refer_turn("red dog", 1)])
    check(
        result,
        rows_of(
            tokenizer,
            ("<s><|im_start|>user\n", False),
            BLOCK,
            ("\nPlease segment red dog.<|im_end|><|im_start|>assistant\n", False),
            ("<seg><image_id>", True),
            VIEW,
            (" <p> red dog </p> <seg>", True),
            (".<|im_end|>", True),
        ),
    )
    assert result["seg_regions"] == [1, 1], "before and after the phrase"
    assert result["dropped_regions"] == 0 and len(result["view_tiles"]) == 1


@pytest.mark.parametrize("token", ["<seg>", "<image_id>", "<p>", "</p>"])
@pytest.mark.parametrize("prob", [0, 1])
def test_a_special_token_in_an_annotation_is_refused(make_tokenizer, token, prob):
    spelt = Turn("Why?", f"An {token} tag.", ())
    with pytest.raises(ValueError, match=f"refcoco/train record 77 .*special token '{token}'.* take it out"):
        tokenize(make_tokenizer(), [refer_turn("ab", 0), spelt], prob=prob)
    asked = Turn(f"What does {token} mean?", "A tag.", ())
    tokenize(make_tokenizer(), [refer_turn("ab", 0), asked], prob=prob)  # is not learnt


def test_each_special_token_is_supervised_by_its_own_id(make_tokenizer):
    """Spelt out without the helper: what the labels of an answer are, token by token."""
    tokenizer = make_tokenizer()
    labels = tokenize(tokenizer, [refer_turn("ab", 0)])["labels"]
    answer = tokenizer.convert_ids_to_tokens(labels[labels != IGNORE_INDEX].tolist())
    blank = "Ġ"  # how a byte-level vocabulary spells a space
    before, after = ["<seg>", "<image_id>"], [blank, "<p>", blank, "a", "b", blank, "</p>", blank, "<seg>"]
    assert answer == [*before, *after, ".", "<|im_end|>"]


def test_without_views(make_tokenizer):
    tokenizer = make_tokenizer()
    result = tokenize(tokenizer, [refer_turn("dog", 2)], prob=0)
    check(
        result,
        rows_of(
            tokenizer,
            ("<s><|im_start|>user\n", False),
            BLOCK,
            ("\nPlease segment dog.<|im_end|><|im_start|>assistant\n", False),
            ("<p> dog </p> <seg>.<|im_end|>", True),
        ),
    )
    assert result["seg_regions"] == [2] and len(result["view_tiles"]) == 0


def test_several_turns_have_one_image_and_one_bos(make_tokenizer):
    tokenizer = make_tokenizer()
    caption = Turn("What?", "A dog, a cat!", (PhraseSpan(2, 5, 2), PhraseSpan(9, 12, 0)))
    result = tokenize(tokenizer, [Turn("Hi?", "Ho."), caption])
    check(
        result,
        rows_of(
            tokenizer,
            ("<s><|im_start|>user\n", False),
            BLOCK,
            ("\nHi?<|im_end|><|im_start|>assistant\n", False),
            ("Ho.<|im_end|>", True),
            ("<|im_start|>user\nWhat?<|im_end|><|im_start|>assistant\n", False),
            ("A <seg><image_id>", True),
            VIEW,
            (" <p> dog </p> <seg>, a <seg><image_id>", True),
            VIEW,
            (" <p> cat </p> <seg>!<|im_end|>", True),
        ),
    )
    assert result["seg_regions"] == [2, 2, 0, 0]


def test_text_only(make_tokenizer):
    tokenizer = make_tokenizer()
    result = tokenize(tokenizer, [Turn("Hi?", "Ho.")], image=False, num_regions=0)
    prompt = "<s><|im_start|>user\nHi?<|im_end|><|im_start|>assistant\n"
    check(result, rows_of(tokenizer, (prompt, False), ("Ho.<|im_end|>", True)))


def test_for_generation_the_sequence_is_the_prompt(make_tokenizer):
    tokenizer = make_tokenizer()
    result = tokenize(tokenizer, [refer_turn("dog", 0)], answers=False)
    question = "\nPlease segment dog.<|im_end|><|im_start|>assistant\n"
    check(result, rows_of(tokenizer, ("<s><|im_start|>user\n", False), BLOCK, (question, False)))
    assert result["seg_regions"] == []


@pytest.mark.parametrize("prob", [0, 1])
def test_forced_ids_are_those_that_training_supervises(make_tokenizer, prob):
    """The answer of the training sample, up to the full stop and the end; words and views are chunks of their own."""
    tokenizer, turns = make_tokenizer(), [refer_turn("a dog", 0)]
    trained = tokenize(tokenizer, turns, num_regions=1, prob=prob)
    results = results_of(turns, num_regions=1, prob=prob, answers=False)
    assert TokenizeConversation(tokenizer, LAYOUT)(results)["forced_ids"] == ()
    results["forced_part"] = GroundedPart(
        "<seg><image_id>" if prob else "<p> a dog </p> <seg>", " <p> a dog </p> <seg>" * prob, 0
    )
    forced = TokenizeConversation(tokenizer, LAYOUT)(results)
    supervised = [label for label in trained["labels"].tolist() if label != IGNORE_INDEX]
    end = tokenizer(f".{TEMPLATE['suffix']}", add_special_tokens=False)["input_ids"]
    assert supervised == [*forced["forced_ids"], *end]
    prompt = forced["input_ids"].tolist()
    assert prompt == trained["input_ids"].tolist()[: len(prompt)], "they are no part of the prompt"


@pytest.mark.parametrize("bos", [True, False])
def test_bos(make_tokenizer, bos):
    tokenizer = make_tokenizer()
    with_bos = tokenize(tokenizer, [refer_turn("dog", 0)])["input_ids"].tolist()
    if not bos:
        tokenizer.bos_token = None
    assert tokenize(tokenizer, [refer_turn("dog", 0)])["input_ids"].tolist() == with_bos[not bos :]
    assert tokenize(tokenizer, [refer_turn("dog", 0)], add_bos=False)["input_ids"].tolist() == with_bos[1:]


def test_without_sefe_the_block_has_no_semantic_rows(make_tokenizer):
    layout = {"tokens_per_tile": 2, "pixel_tokens": 3, "object_tokens": 2, "semantic": False}
    result = tokenize(make_tokenizer(), [refer_turn("dog", 0)], layout=layout)
    features = result["kinds"][result["kinds"] != TokenKind.TEXT].tolist()
    assert features == [2, 3, 3, 3, 4, 5, 5, 6, 6], "views keep their semantic tokens"


@pytest.mark.parametrize("num_tiles", [1, 5])
def test_the_block_counts_the_tiles(make_tokenizer, num_tiles):
    kinds = tokenize(make_tokenizer(), [refer_turn("dog", 0)], num_tiles=num_tiles)["kinds"]
    assert (kinds == TokenKind.SEMANTIC).sum() == 2 * num_tiles


# Chunks


def test_chunks_are_tokenized_by_themselves(make_tokenizer):
    """A merge of two line feeds must not reach across the image, nor be seen where the image was."""
    tokenizer = make_tokenizer(merges=[("Ċ", "Ċ")])
    assert len(tokenizer("\n\n", add_special_tokens=False)["input_ids"]) == 1
    feed = tokenizer("\n", add_special_tokens=False)["input_ids"]
    result = tokenize(tokenizer, [refer_turn("dog", 0)])
    first = int((result["kinds"] == TokenKind.SEMANTIC).nonzero()[0])
    last = int((result["kinds"] == TokenKind.OBJECT).nonzero()[-1])
    ids = result["input_ids"].tolist()
    assert ids[first - 1 : first] == feed and ids[last + 1 : last + 2] == feed


@pytest.mark.parametrize("prob", [0, 1])
def test_the_ids_are_those_of_the_chunks(make_tokenizer, prob):
    """With a tokenizer that puts a blank in front of each text, as SentencePiece ones do, other cuts would show."""
    tokenizer = make_tokenizer(prefix_space=True)
    turns = [refer_turn("dog", 0), Turn("q", "A cat.", (PhraseSpan(2, 5, 1),))]
    results = results_of(turns, prob=prob)
    chunks = []
    for part in results["parts"]:
        assert isinstance(part, TextPart | ImagePart | GroundedPart)
        if not isinstance(part, ImagePart):
            chunks += [part.text] if isinstance(part, TextPart) else [part.before, part.after]
    expected = [id for chunk in chunks for id in tokenizer(chunk, add_special_tokens=False)["input_ids"]]
    result = tokenize(tokenizer, turns, prob=prob, add_bos=False)
    assert result["input_ids"][result["kinds"] == TokenKind.TEXT].tolist() == expected


# Truncation

LONG = [
    refer_turn("red dog", 1),
    Turn("Tell.", "A cat sees a dog.", (PhraseSpan(2, 5, 0), PhraseSpan(11, 16, 2))),
]


@pytest.mark.parametrize("prob", [0, 1])
def test_truncation_at_every_length(make_tokenizer, prob):
    tokenizer = make_tokenizer()
    seg = tokenizer.convert_tokens_to_ids("<seg>")
    full = tokenize(tokenizer, LONG, prob=prob)
    number = int((full["kinds"] == TokenKind.TEXT).sum())
    assert number == len(full["input_ids"]) - len(BLOCK) - 3 * prob * len(VIEW)
    tiles = full["view_tiles"]
    mentioned = [1, 0, 2]
    kept_at = []
    refused = 0
    for max_length in range(number + 3):
        try:
            result = tokenize(tokenizer, LONG, prob=prob, max_length=max_length)
        except ValueError as error:
            assert "refcoco/train record 77" in str(error) and f"max_length={max_length}" in str(error)
            assert "raise max_length" in str(error)
            assert not kept_at, "once there is room there always is"
            refused += 1
            continue
        size = len(result["input_ids"])
        for key in ("input_ids", "labels", "kinds"):
            assert result[key].tolist() == full[key][:size].tolist(), "a prefix"
        assert (result["kinds"] == TokenKind.TEXT).sum() <= max_length
        kept = mentioned[: len(mentioned) - result["dropped_regions"]]
        kept_at.append(len(kept))
        copies = 2 if prob else 1
        assert (result["labels"] == seg).sum() == copies * len(kept)
        assert result["seg_regions"] == [region for region in kept for _ in range(copies)]
        assert len(result["view_tiles"]) == prob * len(kept)
        assert (result["view_tiles"] == tiles[: prob * len(kept)]).all()
        assert (result["kinds"] == TokenKind.VIEW).sum() == prob * len(kept) * len(VIEW)
        last = result["labels"][-1].item()
        opened = (result["input_ids"] == tokenizer.convert_tokens_to_ids("<p>")).sum()
        closed = (result["input_ids"] == tokenizer.convert_tokens_to_ids("</p>")).sum()
        assert opened == closed == len(kept), "no phrase is cut"
        assert last == IGNORE_INDEX or result["kinds"][-1] == TokenKind.TEXT
        if max_length >= number:
            assert size == len(full["input_ids"]) and result["dropped_regions"] == 0
    first_answer = rows_of(
        tokenizer,
        ("<s><|im_start|>user\n", False),
        ("\nPlease segment red dog.<|im_end|><|im_start|>assistant\n", False),
        ("<seg><image_id> <p> red dog </p> <seg>" if prob else "<p> red dog </p> <seg>", True),
    )
    assert refused == len(first_answer[0]), "refused exactly until the first phrase fits"
    assert kept_at == sorted(kept_at) and set(kept_at) == {1, 2, 3}


def test_truncated_text_keeps_as_much_as_fits(make_tokenizer):
    tokenizer = make_tokenizer()
    full = tokenize(tokenizer, [Turn("q", "A long answer.")], image=False, num_regions=0)
    for cut in range(1, 14):
        result = tokenize(
            tokenizer,
            [Turn("q", "A long answer.")],
            image=False,
            num_regions=0,
            max_length=len(full["input_ids"]) - cut,
        )
        assert result["input_ids"].tolist() == full["input_ids"].tolist()[:-cut]
        assert result["dropped_regions"] == 0


def test_image_and_view_rows_are_not_counted(make_tokenizer):
    tokenizer = make_tokenizer()
    small = tokenize(tokenizer, LONG)
    number = int((small["kinds"] == TokenKind.TEXT).sum())
    large = tokenize(tokenizer, LONG, layout=VisualLayout(50, 60, 70), max_length=number)
    assert (large["kinds"] == TokenKind.TEXT).sum() == number
    assert large["seg_regions"] == small["seg_regions"]


def test_a_prompt_that_does_not_fit_is_refused(make_tokenizer):
    """Cut, it would lose the end that tells the model to answer."""
    tokenizer = make_tokenizer()
    prompt = tokenize(tokenizer, [refer_turn("dog", 0)], answers=False)
    number = int((prompt["kinds"] == TokenKind.TEXT).sum())
    tokenize(tokenizer, [refer_turn("dog", 0)], answers=False, max_length=number)
    with pytest.raises(ValueError, match="refcoco/train record 77.*raise max_length"):
        tokenize(tokenizer, [refer_turn("dog", 0)], answers=False, max_length=number - 1)


# Packing


def test_packing_keeps_the_masks_that_are_asked_for(make_tokenizer):
    tokenizer = make_tokenizer()
    number = int((tokenize(tokenizer, LONG)["kinds"] == TokenKind.TEXT).sum())
    for max_length, used, wanted in ((10_000, [0, 1, 2], [1, 1, 0, 0, 2, 2]), (number - 20, [0, 1], [1, 1, 0, 0])):
        results = tokenize(tokenizer, LONG, max_length=max_length)
        results["square_masks"] = torch.eye(3).bool()[:, None].expand(3, 8, 3)
        sample = PackGroundingInputs()(results)
        assert sample.mask_labels.tolist() == [10 + region for region in used]
        asked = sample.masks[sample.seg_mask_index]
        assert (asked == results["square_masks"][results["seg_regions"]]).all()
        assert sample.mask_labels[sample.seg_mask_index].tolist() == [10 + region for region in wanted]
        assert sample.dropped_regions == 3 - len(used)
        assert sample.tile_counts == (3,) and sample.name == "refcoco/train record 77"
        assert sample.image is None and sample.regions == ()


def test_packing_for_generation_keeps_what_evaluation_needs(make_tokenizer):
    results = tokenize(make_tokenizer(), LONG, answers=False)
    sample = PackGroundingInputs(for_generation=True)(results)
    assert sample.image is results["image"] and sample.regions == results["record"].regions
    assert sample.question == "Tell."
    assert len(sample.masks) == 0 and sample.seg_mask_index.dtype == torch.long


def test_packing_in_the_segmenter_stage_keeps_all_masks():
    results = results_of(LONG)
    for key in ("parts", "tiles", "view_tiles"):
        del results[key]
    sample = PackGroundingInputs()(results)
    assert len(sample.masks) == 3 and sample.mask_labels.tolist() == [10, 11, 12]
    assert len(sample.input_ids) == 0 and len(sample.tiles) == 0 and sample.tile_counts == (0,)


# Tokenizers


def test_a_tokenizer_without_the_special_tokens_gets_them(make_tokenizer):
    tokenizer = make_tokenizer(special_tokens=())
    assert len(tokenizer("<seg>", add_special_tokens=False)["input_ids"]) == 5
    result = tokenize(tokenizer, [refer_turn("dog", 0)])
    seg, image_id = tokenizer.convert_tokens_to_ids(["<seg>", "<image_id>"])
    assert (result["labels"] == seg).sum() == 2 and (result["labels"] == image_id).sum() == 1
    check(
        tokenize(tokenizer, [refer_turn("dog", 0)]), [result[key].tolist() for key in ("input_ids", "labels", "kinds")]
    )


class Stubborn:
    """A tokenizer that takes no new tokens and, if asked, knows the words but splits them all the same."""

    pad_token_id, bos_token_id, unk_token_id = 0, 1, 2

    def __init__(self, known):
        self.known = known

    def add_tokens(self, tokens, special_tokens=False):
        return 0

    def get_vocab(self):
        return {token: 10 + number for number, token in enumerate(self.known)}

    def convert_tokens_to_ids(self, token):
        return 10 + self.known.index(token) if token in self.known else self.unk_token_id

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [3, 4, 5]}


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ([], r"'<seg>' \(seg\) is not in the vocabulary of the tokenizer.*add_to"),
        (["<seg>", "<image_id>", "<p>", "</p>"], r"'<seg>' \(seg\) is split.*special_tokens=True"),
    ],
)
def test_a_tokenizer_that_does_not_have_each_token_as_one_id_is_refused(known, message):
    with pytest.raises(ValueError, match=message):
        TokenizeConversation(Stubborn(known), LAYOUT)


def test_another_spelling(make_tokenizer):
    tokenizer = make_tokenizer(special_tokens=())
    names = {"seg": "[SEG]"}
    transform = TokenizeConversation({"type": lambda: tokenizer}, LAYOUT, special_tokens=names)
    results = results_of([refer_turn("dog", 1)])
    results["parts"] = ILVC(SIZE, TEMPLATE, special_tokens=names)(results)["parts"]
    result = transform(results)
    assert (result["labels"] == tokenizer.convert_tokens_to_ids("[SEG]")).sum() == 2
    assert result["seg_regions"] == [1, 1]


def test_a_layout_of_semantic_tokens_alone_has_no_other_position(make_tokenizer):
    result = tokenize(make_tokenizer(), [Turn("What?", "that")], layout={"tokens_per_tile": 2})
    assert result["kinds"].tolist().count(1) == 3 * 2 and set(result["kinds"].tolist()) == {0, 1}


def test_a_layout_without_semantic_tokens_needs_no_tiles(make_tokenizer):
    results = results_of([Turn("What?", "that")])
    del results["tiles"]
    layout = VisualLayout(tokens_per_tile=2, pixel_tokens=3, object_tokens=0, semantic=False)
    kinds = TokenizeConversation(make_tokenizer(), layout)(results)["kinds"].tolist()
    assert [kind for kind in kinds if kind] == [2, 3, 3, 3]
