"""What data take from a model, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset.base_dataset import Compose
from support.tiny_model import TEMPLATE, refer_record, text_record, tiny_tokenizer
from torch.utils.data import ConcatDataset, Subset

from lira_plugin.datasets import (
    ILVC,
    CutViews,
    DecodeRegions,
    GroundingDataset,
    LetterboxImage,
    LoadImage,
    MixtureDataset,
    PackGroundingInputs,
    TileImage,
    TokenizeConversation,
    fit_to_model,
)
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.structures import ChatTemplate, InputSpec, TokenKind, VisualLayout
from lira_plugin.tokens import SpecialTokens

TOKENS = SpecialTokens(seg="[SEG]")


def spec(**changes):
    tokenizer = tiny_tokenizer()
    TOKENS.add_to(tokenizer)
    asked = InputSpec(
        image_size=64,
        pixel_cell=32,
        object_tokens=6,
        tile_size=32,
        tokens_per_tile=4,
        semantic=True,
        tokenizer=tokenizer,
        special_tokens=TOKENS,
        template=ChatTemplate(**TEMPLATE),
        end_token="<|im_end|>",
        ilvc=True,
    )
    return replace(asked, **changes)


def steps(**settings):
    """A pipeline by name; ``settings`` are those of its steps, such as ``tile_size=8`` of ``TileImage``."""
    kinds = {
        "load": LoadImage,
        "decode": DecodeRegions,
        "letterbox": LetterboxImage,
        "interleave": ILVC,
        "tile": TileImage,
        "tokenize": TokenizeConversation,
        "pack": PackGroundingInputs,
    }
    own = {step: {} for step in kinds}
    for name, value in settings.items():
        step, _, argument = name.partition("_")
        own[step][argument] = value
    return {step: {"type": kind, **own[step]} for step, kind in kinds.items()}


class Records(GroundingDataset):
    def __init__(self, records, pipeline=None):
        super().__init__("records", pipeline)
        self.records = records

    def __len__(self):
        return len(self.records)

    def get_record(self, index, rng):
        return self.records[index]


def test_a_pipeline_without_numbers_makes_the_samples_of_one_that_has_them_all(tmp_path):
    record = refer_record(tmp_path, "a", ["cup", "dog"])
    taken = Records([record], steps(tile_max_tiles=3))
    layout = VisualLayout(tokens_per_tile=4, pixel_tokens=4, object_tokens=6)
    given = Records(
        [record],
        steps(
            letterbox_size=64,
            interleave_size=32,
            interleave_template=TEMPLATE,
            interleave_special_tokens=TOKENS,
            tile_size=32,
            tile_max_tiles=3,
            tokenize_tokenizer=spec().tokenizer,
            tokenize_layout=layout,
            tokenize_special_tokens=TOKENS,
        ),
    )
    assert fit_to_model(taken, spec()) is taken
    mine, other = taken[0], given[0]
    for name in ("input_ids", "labels", "kinds", "pixel_images", "tiles", "view_tiles", "masks", "seg_mask_index"):
        assert torch.equal(getattr(mine, name), getattr(other, name)), name
    assert torch.equal(fit_to_model(taken, spec())[0].input_ids, mine.input_ids), "once more changes nothing"
    assert torch.equal(fit_to_model(given, spec())[0].input_ids, other.input_ids), "and these agree"


def test_a_pipeline_that_was_not_fitted_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="LetterboxImage has no size: give one, or let it be taken from the model"):
        Records([refer_record(tmp_path, "a", ["cup"])], steps())[0]
    settings = {"interleave_template": TEMPLATE, "interleave_size": 32, "tile_size": 32, "letterbox_size": 64}
    with pytest.raises(ValueError, match="TokenizeConversation has no tokenizer"):
        Records([text_record("a")], steps(**settings))[0]
    with pytest.raises(ValueError, match="TokenizeConversation has no layout"):
        Records([text_record("a")], steps(**settings, tokenize_tokenizer=tiny_tokenizer()))[0]
    with pytest.raises(ValueError, match="CutViews has no size"):
        CutViews()({"image": np.zeros((4, 4, 3), np.uint8), "rng": None, "masks": []})


LAYOUT = {"tokens_per_tile": 4, "pixel_tokens": 4, "object_tokens": 6}
OTHERS = ChatTemplate("", "{input}", "</s>")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"letterbox_size": 96}, r"letterbox\.size=96, but model\.pixel_encoder\.image_size makes image_size=64"),
        ({"interleave_size": 16}, r"interleave\.size=16, but model\.semantic_encoder makes tile_size=32"),
        ({"tile_size": 16}, r"tile\.size=16, but model\.semantic_encoder makes tile_size=32"),
        (
            {"tokenize_layout": LAYOUT | {"tokens_per_tile": 9}},
            r"tokenize\.layout\.tokens_per_tile=9, but model\.semantic_encoder makes tokens_per_tile=4",
        ),
        (
            {"tokenize_layout": LAYOUT | {"pixel_tokens": 9}},
            r"tokenize\.layout\.pixel_tokens=9, but model\.pixel_encoder makes pixel_tokens=4",
        ),
        (
            {"tokenize_layout": LAYOUT | {"object_tokens": 7}},
            r"tokenize\.layout\.object_tokens=7, but model\.pixel_encoder\.segmenter\.num_queries makes object_tokens=6",
        ),
        (
            {"tokenize_layout": LAYOUT | {"semantic": False}},
            r"tokenize\.layout\.semantic=False, but model\.sefe\.enrich makes semantic=True",
        ),
        (
            {"interleave_special_tokens": {"seg": "<seg>"}},
            r"interleave\.special_tokens are \('<seg>', .*model\.special_tokens are \('\[SEG\]', ",
        ),
        (
            {"tokenize_special_tokens": {"phrase_end": "<end>", "seg": "[SEG]"}},
            r"tokenize\.special_tokens are .*'<end>'\), but those of model\.special_tokens are .*'</p>'\)",
        ),
        (
            {"interleave_template": OTHERS},
            r"interleave\.template=.*'</s>'.*, but model\.llm\.chat_template makes template=.*'<\|im_end\|>'",
        ),
        ({"interleave_prob": 0}, r"interleave\.prob=0, but model\.generation\.ilvc makes ilvc=True"),
    ],
)
def test_a_contradiction_names_both_settings_and_both_values(setting, message):
    with pytest.raises(ValueError, match=rf"train\.pipeline\.{message}.*change one of the two, or leave the first out"):
        fit_to_model(Records([], steps(**setting)), spec(), "train")


@pytest.mark.parametrize(
    ("changes", "setting", "message"),
    [
        (
            {"image_size": None},
            {"letterbox_size": 72},
            r"size=72 is no multiple of 32, .* pixel token of model\.pixel_enc",
        ),
        (
            {"template": None},
            {"interleave_template": OTHERS},
            r"template\.suffix='</s>', but model\.generation\.end_token",
        ),
        ({"ilvc": False}, {"interleave_prob": 1}, r"prob=1, but model\.generation\.ilvc makes ilvc=False"),
    ],
)
def test_what_the_model_does_not_fix_has_to_fit_all_the_same(changes, setting, message):
    with pytest.raises(ValueError, match=message):
        fit_to_model(Records([], steps(**setting)), spec(**changes))


def test_another_tokenizer_is_named_with_its_size():
    other = tiny_tokenizer()
    TOKENS.add_to(other)
    settings = {"tokenize_special_tokens": TOKENS, "tokenize_tokenizer": other}
    fit_to_model(Records([], steps(**settings)), spec())
    other.add_tokens(["more"])
    message = (
        rf"tokenizer is '.*' of {len(other)} tokens, but that of model\.tokenizer is '.*' of {len(other) - 1} tokens"
    )
    with pytest.raises(ValueError, match=message):
        fit_to_model(Records([], steps(**settings)), spec())


def test_pixel_tokens_follow_the_size_of_the_images_where_the_model_leaves_it_open():
    pipeline = build_pipeline(steps(letterbox_size=96))
    fit_to_model(pipeline, spec(image_size=None))
    assert pipeline.transforms[5].layout.pixel_tokens == 9


def test_without_sefe_and_without_ilvc_are_what_the_model_says(tmp_path):
    record = refer_record(tmp_path, "a", ["cup"], 40, 90)

    def sample(**changes):
        return fit_to_model(Records([record], steps()), spec(**changes))[0]

    whole, no_sefe, no_ilvc = sample(), sample(semantic=False), sample(ilvc=False)
    assert len(whole.tiles) > 1 == len(whole.view_tiles)
    assert len(no_sefe.tiles) == 1, "nothing reads more"
    assert not (no_sefe.kinds == TokenKind.SEMANTIC).any() and (no_sefe.kinds == TokenKind.VIEW).sum() == 4
    assert not len(no_ilvc.view_tiles) and not (no_ilvc.kinds == TokenKind.VIEW).any()
    half = build_pipeline(steps(interleave_prob=0.5))
    for ilvc in (True, False):
        assert fit_to_model(half, spec(ilvc=ilvc)).transforms[3].prob == 0.5, "trained with both, tested with either"


def test_every_pipeline_of_a_data_set_is_fitted_and_named():
    def wrong():
        return Records([], steps(tile_size=8))

    def place(data):
        with pytest.raises(ValueError, match=r"tile\.size=8, but") as error:
            fit_to_model(data, spec(), "data")
        return str(error.value).split(".tile.size")[0]

    mixture = MixtureDataset([Records([text_record("a")]), wrong()])
    assert place(mixture) == "data.datasets.1.pipeline"
    assert place(MixtureDataset([Records([])], pipeline=steps(tile_size=8))) == "data.pipeline"
    assert place(ConcatDataset([Records([text_record("a")]), Subset(wrong(), [])])) == "data.datasets.1.pipeline"
    unnamed = Records([], [LoadImage(), TileImage(size=8)])
    with pytest.raises(ValueError, match=r"^data\.pipeline\.1\.size=8, but"):
        fit_to_model(unnamed, spec(), "data")
    with pytest.raises(ValueError, match=r"^pipeline\.0\.size=8, but"):
        fit_to_model(Compose([TileImage(size=8)]), spec(), "pipeline")


def test_data_of_other_kinds_and_models_that_say_nothing_are_left_alone():
    assert fit_to_model([1, 2], spec()) == [1, 2]
    untouched = Records([], steps())
    assert fit_to_model(untouched, None) is untouched and fit_to_model(untouched, InputSpec()) is untouched
    assert untouched.pipeline.transforms[4].size is None
