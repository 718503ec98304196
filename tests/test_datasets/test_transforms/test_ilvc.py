"""The parts that ILVC writes and the views that it cuts, against hand-written examples."""

import numpy as np
import pytest
import torch

from lira_plugin.datasets import ILVC
from lira_plugin.datasets.transforms import GroundedPart, ImagePart, TextPart
from lira_plugin.structures import (
    INTERNVL2_TEMPLATE,
    Conversation,
    PhraseSpan,
    Record,
    Region,
    Turn,
    refer_turn,
    region_view,
)

TEMPLATE = {"system": "[system]", "instruction": "[user]{input}[assistant]", "suffix": "[end]"}
HEIGHT, WIDTH, SIZE = 48, 64, 16


def boxes(*corners):
    masks = np.zeros((len(corners), HEIGHT, WIDTH), bool)
    for mask, (top, left, height, width) in zip(masks, corners):
        mask[top : top + height, left : left + width] = True
    return masks


MASKS = boxes((2, 3, 14, 20), (20, 30, 20, 12), (8, 44, 24, 16))


def results_of(turns, masks=MASKS, seed=0, image=True):
    regions = tuple(Region(f"r{n}", ()) for n in range(len(masks)))
    record = Record("s", "1", "a.jpg" if image else None, Conversation(tuple(turns)), regions)
    pixels = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return {
        "record": record,
        "rng": np.random.default_rng(seed),
        "image": pixels if image else None,
        "masks": masks,
    }


def run(turns, seed=0, masks=MASKS, image=True, **settings):
    settings = {"size": SIZE, "template": TEMPLATE, **settings}
    return ILVC(**settings)(results_of(turns, masks, seed, image))


def gt_view(mask, seed=0):
    image = results_of([Turn("q", "a")], seed=seed)["image"]
    return torch.tensor(region_view(image, mask, SIZE)).permute(2, 0, 1)


CAPTION = "A dog near the red car."
GCG = Turn("Describe it.", CAPTION, (PhraseSpan(0, 5, 1), PhraseSpan(11, 22, 0)))


# Text


def test_referring_segmentation_with_views():
    result = run([refer_turn(" The Left Dog ", 0), refer_turn("red car", 2)])
    assert result["parts"] == [
        TextPart("[system][user]", False),
        ImagePart(),
        TextPart("\nPlease segment the left dog.[assistant]", False),
        GroundedPart("<seg><image_id>", " <p> the left dog </p> <seg>", 0),
        TextPart(".[end]", True),
        TextPart("[user]Please segment red car.[assistant]", False),
        GroundedPart("<seg><image_id>", " <p> red car </p> <seg>", 2),
        TextPart(".[end]", True),
    ]


def test_referring_segmentation_without_views():
    result = run([refer_turn("dog", 0)], prob=0)
    assert result["parts"] == [
        TextPart("[system][user]", False),
        ImagePart(),
        TextPart("\nPlease segment dog.[assistant]", False),
        GroundedPart("<p> dog </p> <seg>", "", 0),
        TextPart(".[end]", True),
    ]
    assert result["view_tiles"].shape == (0, 3, SIZE, SIZE)


def test_a_grounded_caption_with_views():
    result = run([GCG])
    assert result["parts"][3:] == [
        GroundedPart("<seg><image_id>", " <p> A dog </p> <seg>", 1),
        TextPart(" near ", True),
        GroundedPart("<seg><image_id>", " <p> the red car </p> <seg>", 0),
        TextPart(".[end]", True),
    ]


def test_a_grounded_caption_without_views():
    result = run([GCG], prob=0)
    assert result["parts"][3:] == [
        GroundedPart("<p> A dog </p> <seg>", "", 1),
        TextPart(" near ", True),
        GroundedPart("<p> the red car </p> <seg>", "", 0),
        TextPart(".[end]", True),
    ]


def test_the_published_prompt_and_spelling():
    result = run([refer_turn("dog", 0)], template=INTERNVL2_TEMPLATE, special_tokens={"seg": "[SEG]"})
    question, _, after, grounded, end = result["parts"]
    assert question.text.startswith("<|im_start|>system\n") and question.text.endswith("<|im_end|><|im_start|>user\n")
    assert after.text == "\nPlease segment dog.<|im_end|><|im_start|>assistant\n"
    # process_functions/referring_seg_process.py: [SEG]<image_id><image> <p> {label} </p> [SEG].
    assert grounded == GroundedPart("[SEG]<image_id>", " <p> dog </p> [SEG]", 0)
    assert end == TextPart(".<|im_end|>", True)


def test_a_turn_without_target_is_plain_text():
    result = run([refer_turn("cat", None), refer_turn("dog", 1)])
    assert result["parts"][2:5] == [
        TextPart("\nPlease segment cat.[assistant]", False),
        TextPart("There is no cat.[end]", True),
        TextPart("[user]Please segment dog.[assistant]", False),
    ]
    assert len(result["view_tiles"]) == 1
    assert (result["view_tiles"][0] == gt_view(MASKS[1])).all()


def test_text_only():
    result = run([Turn("Hello?", "Hi.")], masks=MASKS[:0], image=False)
    assert result["parts"] == [TextPart("[system][user]Hello?[assistant]", False), TextPart("Hi.[end]", True)]
    assert result["view_tiles"].shape == (0, 3, SIZE, SIZE)


def test_neighbouring_phrases_have_nothing_between():
    turn = Turn("q", "ab", (PhraseSpan(0, 1, 0), PhraseSpan(1, 2, 1)))
    parts = run([turn], prob=0)["parts"][3:]
    assert parts == [
        GroundedPart("<p> a </p> <seg>", "", 0),
        GroundedPart("<p> b </p> <seg>", "", 1),
        TextPart("[end]", True),
    ]


# Two prompts


def test_two_prompts_share_the_samples_and_say_which_form_is_wanted():
    count, share = 400, 0.5
    with_views = 0
    for seed in range(count):
        result = run([refer_turn("dog", 0), refer_turn("car", 1)], seed, prob=share, suffixes=(" Look.", " Quick."))
        grounded = [part for part in result["parts"] if isinstance(part, GroundedPart)]
        questions = [part.text for part in result["parts"] if isinstance(part, TextPart) and "segment" in part.text]
        interleaved = grounded[0].before == "<seg><image_id>"
        with_views += interleaved
        suffix = " Look." if interleaved else " Quick."
        assert questions == [
            f"\nPlease segment dog.{suffix}[assistant]",
            f"[user]Please segment car.{suffix}[assistant]",
        ]
        assert [bool(part.after) for part in grounded] == [interleaved] * 2, "one form in a sample"
        assert len(result["view_tiles"]) == 2 * interleaved
    deviation = (count * share * (1 - share)) ** 0.5
    assert abs(with_views - count * share) < 4 * deviation


@pytest.mark.parametrize(("prob", "suffix"), [(1, " Look."), (0, " Quick.")])
def test_always_and_never(prob, suffix):
    for seed in range(50):
        result = run([refer_turn("dog", 0)], seed, prob=prob, suffixes=(" Look.", " Quick."))
        assert suffix in result["parts"][2].text
        assert len(result["view_tiles"]) == prob


# Views


def test_views_are_cut_from_the_ground_truth_in_the_order_of_mention():
    tiles = run([GCG])["view_tiles"]
    assert tiles.dtype == torch.uint8 and tiles.shape == (2, 3, SIZE, SIZE)
    assert (tiles[0] == gt_view(MASKS[1])).all()
    assert (tiles[1] == gt_view(MASKS[0])).all()


def test_a_wrong_view_shows_another_region():
    seen = set()
    for seed in range(40):
        tile = run([refer_turn("dog", 0)], seed, wrong_view=1.0)["view_tiles"][0]
        matches = [index for index in range(3) if (tile == gt_view(MASKS[index])).all()]
        assert len(matches) == 1
        seen.add(matches[0])
    assert seen == {1, 2}, "each of the others, never the right one"


@pytest.mark.parametrize("masks", [MASKS[:1], np.stack([MASKS[0]] * 3)])
def test_without_another_region_a_wrong_view_is_the_right_one(masks):
    tile = run([refer_turn("dog", 0)], masks=masks, wrong_view=1.0)["view_tiles"][0]
    assert (tile == gt_view(MASKS[0])).all()


def test_a_phrase_that_the_question_does_not_name_is_never_shown_another_region():
    named = Turn("Where is A DOG?", GCG.answer, GCG.spans)
    for seed in range(20):
        captions = run([GCG], seed, wrong_view=1.0)["view_tiles"]
        assert (captions[0] == gt_view(MASKS[1])).all() and (captions[1] == gt_view(MASKS[0])).all()
        dog, car = run([named], seed, wrong_view=1.0)["view_tiles"]
        assert not (dog == gt_view(MASKS[1])).all(), "the question says 'a dog', in whatever case"
        assert (car == gt_view(MASKS[0])).all()


def views_seen(monkeypatch):
    """Record the masks that views are cut from."""
    import lira_plugin.datasets.transforms.ilvc as module

    seen = []
    monkeypatch.setattr(
        module, "region_view", lambda image, mask, size: seen.append(mask) or region_view(image, mask, size)
    )
    return seen


def test_a_shifted_view_differs_but_overlaps(monkeypatch):
    seen = views_seen(monkeypatch)
    masks = boxes((17, 20, 12, 20))  # far enough from the border: nothing is cut off
    for seed in range(100):
        run([refer_turn("dog", 0)], seed, masks, shifted_view=1.0)
    rows, columns = np.nonzero(masks[0])
    changed = 0
    for mask in seen:
        assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool
        assert (mask & masks[0]).any(), "it overlaps"
        changed += (mask != masks[0]).any()
        for axis, places in enumerate((rows, columns)):
            shown = np.nonzero(mask)[axis]
            extent, low = np.ptp(places) + 1, places.min()
            assert 0.7 * extent - 2 <= np.ptp(shown) + 1 <= 1.4 * extent + 2, "scaled by 0.7 to 1.4"
            centre, shifted = low + extent / 2, shown.min() + (np.ptp(shown) + 1) / 2
            assert abs(shifted - centre) <= 0.4 * extent + 1, "shifted by up to 40 %"
    assert changed >= 98, "and differs"
    centre = np.argwhere(np.mean(seen, 0) > 0.5).mean(0)
    assert np.abs(centre - (22.5, 29.5)).max() < 1.5, "without a preferred direction"


def test_a_view_shifted_over_the_border_is_cut_off(monkeypatch):
    seen = views_seen(monkeypatch)
    masks = boxes((0, 0, 12, 20))
    for seed in range(50):
        run([refer_turn("dog", 0)], seed, masks, shifted_view=1.0)
    for mask in seen:
        assert (mask & masks[0]).any()
        assert not mask[24:].any() and not mask[:, 40:].any(), "nothing comes in at the opposite border"


def test_shares_of_views_are_kept(monkeypatch):
    seen = views_seen(monkeypatch)
    count = 500
    for seed in range(count):
        run([refer_turn("dog", 0)], seed, wrong_view=0.3, shifted_view=0.1, rough_view=0.1)
    right = sum((mask == MASKS[0]).all() for mask in seen)
    wrong = sum(any((mask == other).all() for other in MASKS[1:]) for mask in seen)
    for found, share in ((right, 0.5), (wrong, 0.3), (count - right - wrong, 0.2)):
        assert abs(found - count * share) < 4 * (count * share * (1 - share)) ** 0.5


def test_a_shifted_empty_mask_stays_empty():
    empty = np.zeros((1, HEIGHT, WIDTH), bool)
    tile = run([refer_turn("dog", 0)], masks=empty, shifted_view=1.0)["view_tiles"][0]
    assert (tile == gt_view(empty[0])).all()


def test_masks_of_the_record_are_not_changed():
    masks = MASKS.copy()
    run([GCG], masks=masks, wrong_view=0.5, shifted_view=0.5)
    assert (masks == MASKS).all()


# Generation


def test_for_generation_the_last_answer_is_left_out():
    result = run([GCG], answers=False)
    assert result["parts"] == [
        TextPart("[system][user]", False),
        ImagePart(),
        TextPart("\nDescribe it.[assistant]", False),
    ]
    assert len(result["view_tiles"]) == 0


def test_for_generation_earlier_turns_are_history():
    turns = [refer_turn("dog", 2), GCG]
    whole, prompt = run(turns), run(turns, answers=False)
    assert prompt["parts"] == whole["parts"][: len(prompt["parts"])]
    assert prompt["parts"][-1] == TextPart("[user]Describe it.[assistant]", False)
    assert len(prompt["view_tiles"]) == 1 and torch.equal(prompt["view_tiles"], whole["view_tiles"][:1])


@pytest.mark.parametrize(("prob", "suffix"), [(1, " Look."), (0, " Quick.")])
def test_for_generation_the_prompt_says_which_form_is_wanted(prob, suffix):
    result = run([GCG], answers=False, prob=prob, suffixes=(" Look.", " Quick."))
    assert result["parts"][2].text == f"\nDescribe it.{suffix}[assistant]"


# Wrong use


def test_shares_that_make_up_the_whole_are_no_error():
    assert 0.33 + 0.56 + 0.11 > 1, "as floats are added one by one"
    ILVC(wrong_view=0.33, shifted_view=0.56, rough_view=0.11)


@pytest.mark.parametrize(
    "shares",
    [
        {"prob": 1.5},
        {"prob": -0.1},
        {"wrong_view": -0.1},
        {"shifted_view": -0.1},
        {"wrong_view": 0.6, "shifted_view": 0.6},
        {"wrong_view": 0.6, "rough_view": 0.6},
        {"wrong_view": 1.1},
    ],
)
def test_shares_outside_of_0_to_1_are_an_error(shares):
    name, value = next(iter(shares.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        ILVC(template=TEMPLATE, **shares)


def test_a_template_must_take_the_question():
    with pytest.raises(ValueError, match="'{input}'.*'no place'"):
        ILVC(template={**TEMPLATE, "instruction": "no place"})


def test_size_and_template_have_to_come_from_somewhere():
    with pytest.raises(ValueError, match="ILVC has no template: give one, or let it be taken from the model"):
        run([refer_turn("r0", 0)], template=None)
    results = {
        "record": Record("s", "1", None, Conversation((refer_turn("r0", None),))),
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(ValueError, match="ILVC has no size: give one"):
        ILVC(template=TEMPLATE)(results)


def test_a_template_must_take_the_question_once():
    """It is split there, to put the image in; a second place has no meaning."""
    with pytest.raises(ValueError, match="{input}"):
        ILVC(template={**TEMPLATE, "instruction": "{input} and {input}"})


def test_a_published_template_goes_by_its_name():
    named, given = (
        run([refer_turn("dog", 0)], template=template) for template in ("internvl2_chat", INTERNVL2_TEMPLATE)
    )
    assert named["parts"] == given["parts"]
    with pytest.raises(
        ValueError, match=r"unknown chat template 'gpt'; known are \['internvl2_5_chat', 'internvl2_chat'"
    ):
        ILVC(template="gpt")


@pytest.mark.parametrize(
    ("template", "system"), [("qwen_chat", [("system", "You are a helpful assistant.")]), ("qwen3_chat", [])]
)
def test_qwens_templates_are_chatml(template, system):
    """As Qwen's own templates render it, up to the line break that they leave at the end; Qwen3-VL's has no system prompt."""
    turns = [Turn("one", "two"), Turn("three", "four")]
    text = "".join(part.text for part in run(turns, masks=MASKS[:0], image=False, template=template)["parts"])
    messages = [*system, ("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    rendered = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
    assert text + "\n" == rendered


# Masks for a given text


@pytest.mark.parametrize(
    ("prob", "texts"), [(1, ("<seg><image_id>", " <p> r0 </p> <seg>")), (0, ("<p> r0 </p> <seg>", ""))]
)
def test_regions_may_be_forced(prob, texts):
    result = run([refer_turn("r0", 0)], masks=MASKS[:1], answers=False, force_regions=True, prob=prob)
    assert result["forced_part"] == GroundedPart(*texts, region=0)
    assert result["parts"] == run([refer_turn("r0", 0)], masks=MASKS[:1], answers=False, prob=prob)["parts"]
    assert len(result["view_tiles"]) == 0, "the view will be that of the predicted mask"


def test_nothing_is_forced_by_default():
    assert run([refer_turn("r0", 0)], answers=False)["forced_part"] is None
    assert run([refer_turn("r0", 0)])["forced_part"] is None


def test_one_region_can_be_forced():
    with pytest.raises(ValueError, match=r"s record 1: .*one region.*got 3; set force_regions=False"):
        run([GCG], answers=False, force_regions=True)
    with pytest.raises(ValueError, match="answers=False"):
        ILVC(template=TEMPLATE, force_regions=True)
