"""The inferencer with a tiny LIRA of random weights, against one-by-one runs, formulas, Pillow and pycocotools."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from support.tiny_model import write_image
from support.tiny_recipes import tiny_recipe

from lira_plugin.inference import LIRAInferencer, find_recipe
from lira_plugin.structures import GroundedSpan, GroundedText

pytestmark = pytest.mark.slow

SIZES = [(48, 64), (64, 30), (17, 90), (40, 40), (33, 65)]
QUESTIONS = ["Please segment the cat.", "What is this?", "Describe the image."]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return [write_image(folder, f"image {number}", *size) for number, size in enumerate(SIZES)]


def pixels(path):
    return np.array(Image.open(path))


def assert_same(answer: GroundedText, other: GroundedText) -> None:
    assert (answer.text, answer.raw_text, answer.finished) == (other.text, other.raw_text, other.finished)
    assert len(answer.spans) == len(other.spans)
    for one, two in zip(answer.spans, other.spans):
        assert (one.start, one.end, one.phrase) == (two.start, two.end, two.phrase)
        assert one.mask.shape == two.mask.shape and (one.mask != two.mask).mean() < 0.002
        assert one.score == pytest.approx(two.score, abs=1e-4)


def test_together_is_as_one_by_one(lira, images):
    asked = [(image, question) for question in QUESTIONS for image in images]
    together = lira(*map(list, zip(*asked)), batch_size=3)
    assert sum(len(answer.spans) for answer in together) > 5, [answer.raw_text for answer in together]
    for (image, question), answer in zip(asked, together):
        assert_same(answer, lira(image, question, batch_size=1)[0])
        assert all(span.mask.shape == pixels(image).shape[:2] and span.mask.dtype == bool for span in answer.spans)


def test_paths_arrays_and_pil_images_are_the_same(lira, images):
    kinds = [images[0], pixels(images[0]), Image.open(images[0])]
    first, *others = lira(kinds, QUESTIONS[0])
    for other in others:
        assert_same(first, other)


def test_an_image_is_read_and_encoded_once_for_all_of_its_questions(lira, images, monkeypatch):
    encoded, opened = [], []
    encode, open_image = lira.model.pixel_encoder.encode, Image.open
    monkeypatch.setattr(lira.model.pixel_encoder, "encode", lambda batch: encoded.append(len(batch)) or encode(batch))
    monkeypatch.setattr(Image, "open", lambda path, *rest: opened.append(path) or open_image(path, *rest))
    mixed = [images[1], images[0]] * 3
    questions = [f"Is it {number}?" for number in range(6)]
    answers = lira(mixed, questions, max_new_tokens=2)
    assert sum(encoded) == 2 and sorted(map(str, opened)) == sorted(images[:2])
    monkeypatch.undo()
    for image, question, answer in zip(mixed, questions, answers):
        assert_same(answer, lira(image, question, max_new_tokens=2)[0])


def test_images_are_loaded_when_it_is_their_turn(lira, images, monkeypatch):
    """Memory does not grow with the number of images."""
    opened, ahead = [], []
    open_image = Image.open
    paths = [write_image_copy(images[0], number) for number in range(20)]
    monkeypatch.setattr(Image, "open", lambda path, *rest: opened.append(path) or open_image(path, *rest))
    for count, _ in enumerate(lira.iterate(paths, QUESTIONS[1], batch_size=2, max_new_tokens=3)):
        ahead.append(len(opened) - count)
    assert len(opened) == 20 and max(ahead) <= 6


def write_image_copy(path, number):
    copy = f"{path.removesuffix('.png')} copy {number}.png"
    Image.open(path).save(copy)
    return copy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured(lira, images, tmp_path, orientation):
    by_hand = {
        1: lambda image: image,
        2: lambda image: image[:, ::-1],
        3: lambda image: image[::-1, ::-1],
        4: lambda image: image[::-1],
        5: lambda image: image.swapaxes(0, 1),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
        8: lambda image: np.rot90(image, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(images[0]).save(tmp_path / "turned.png", exif=exif)
    upright = np.ascontiguousarray(by_hand(pixels(images[0])))
    expected, *answers = lira(
        [upright, tmp_path / "turned.png", Image.open(tmp_path / "turned.png")], QUESTIONS[0], force=True
    )
    assert expected.spans[0].mask.shape == upright.shape[:2]
    for answer in answers:
        assert_same(answer, expected)


@pytest.mark.parametrize("size", [(1, 2000), (1500, 3), (1, 1)])
def test_any_aspect_ratio(lira, size, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    [answer] = lira(image, QUESTIONS[0], force=True, out_dir=tmp_path, return_logits=True)
    assert answer.spans[0].mask.shape == answer.spans[0].logits.shape == size
    with Image.open(tmp_path / "masks" / "00000_image_1_0.png") as mask:
        assert mask.size == size[::-1]
    assert Image.open(tmp_path / "overlays" / "00000_image_1.png").width > 20


@pytest.mark.parametrize(
    "name",
    ["chelsea.png", "rocket.jpg", "retina.jpg", "camera.png", "horse.png", "multipage.tif", "microaneurysms.png"],
)
def test_photographs_of_all_kinds(lira, name, tmp_path):
    """Colour, grey, with transparency, large and tiny; from scikit-image's wheel."""
    path = Path(pytest.importorskip("skimage").__file__).parent / "data" / name
    [answer] = lira(path, QUESTIONS[0], force=True, out_dir=tmp_path)
    [free] = lira(path, QUESTIONS[2])
    with Image.open(path) as photo:
        size = photo.size
    for span in (*answer.spans, *free.spans):
        assert span.mask.shape == size[::-1]
    [mask] = (tmp_path / "masks").iterdir()
    with Image.open(mask) as written:
        assert written.size == size
    [overlay] = (tmp_path / "overlays").iterdir()
    assert Image.open(overlay).width > 20


def test_weights_of_16_bits(lira, images):
    """As the runner's model of that type gives them, and near those of fp32."""
    half = LIRAInferencer(tiny_recipe(), device="cpu", dtype="bfloat16", show_progress=False)
    half.model.load_state_dict(lira.model.state_dict())
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    [free] = half(images[0], QUESTIONS[2])
    assert free.raw_text
    forced = [inferencer(images, QUESTIONS[0], force=True, return_logits=True) for inferencer in (half, lira)]
    for answer, exact in zip(*forced, strict=True):
        [span], [other] = answer.spans, exact.spans
        assert (
            span.logits.dtype == np.float32
            and np.abs(span.logits - other.logits).max() < 0.1 * np.ptp(other.logits) + 0.1
        )


def test_threshold_logits_and_scores(lira, images):
    answers = {
        threshold: lira(images, QUESTIONS[0], force=True, threshold=threshold, return_logits=True)
        for threshold in (0.3, 0.5, 0.7)
    }
    for threshold, found in answers.items():
        for answer, reference in zip(found, answers[0.5]):
            [span], [same] = answer.spans, reference.spans
            np.testing.assert_allclose(span.logits, same.logits, atol=0.2)
            probability = 1 / (1 + np.exp(-span.logits.astype(float)))
            clear = abs(probability - threshold) > 1e-6
            assert (span.mask == (probability > threshold))[clear].all()
            if span.mask.any():
                assert span.score == pytest.approx(probability[span.mask].mean(), abs=1e-5)
    assert lira(images[0], QUESTIONS[0], force=True)[0].spans[0].logits is None


def test_forced_masks_with_and_without_ilvc(lira, images):
    [answer] = lira(images[0], "Please segment the Red cat.", force=True)
    assert answer.text == "the red cat" and answer.finished and answer.spans[0].coarse_mask is not None
    assert answer.raw_text == "<seg><image_id> <p> the red cat </p> <seg>"
    [answer] = lira(images[0], "Please segment the Red cat.", force=True, ilvc=False)
    assert answer.raw_text == "<p> the red cat </p> <seg>" and answer.spans[0].coarse_mask is None
    assert all("<image_id>" not in found.raw_text for found in lira(images, QUESTIONS[0], ilvc=False))


def test_options_that_do_not_exist_or_are_out_of_range(lira, images):
    with pytest.raises(TypeError, match="no setting 'treshold'; is 'threshold' meant.*max_new_tokens"):
        lira(images[0], "q", treshold=0.4)
    with pytest.raises(ValueError, match="threshold must lie between"):
        lira(images[0], "q", threshold=1.5)
    with pytest.raises(ValueError, match="batch_size"):
        lira(images[0], "q", batch_size=0)


def test_an_unreadable_image_is_named(lira, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        lira(tmp_path / "broken.png", "q")
    Image.new("RGB", (300, 300), "red").save(tmp_path / "whole.bmp")
    (tmp_path / "cut.bmp").write_bytes((tmp_path / "whole.bmp").read_bytes()[:500])
    with Image.open(tmp_path / "cut.bmp") as cut, pytest.raises(ValueError, match="image 1 cannot be read"):
        lira(cut, "q")


def test_questions_without_an_image(lira):
    answers = lira(None, ["Why?", "How?"], max_new_tokens=4)
    assert len(answers) == 2 and not any(answer.spans for answer in answers)


def test_questions_without_an_image_are_encoded_in_batches(lira, monkeypatch):
    sizes = []
    collate = lira.collate_fn
    monkeypatch.setattr(lira, "collate_fn", lambda samples: sizes.append(len(samples)) or collate(samples))
    lira(None, ["Why?", "How?", "Who?"], max_new_tokens=1, batch_size=2)
    assert sizes == [2, 1], "they have no image in common"


def test_stream_ends_with_the_answer_and_its_pieces_make_the_text(lira, images):
    for image in images:
        news = list(lira.stream(image, QUESTIONS[0]))
        [answer] = lira(image, QUESTIONS[0])
        assert_same(news[-1].answer, answer)
        assert news[-1].done and not any(one.done for one in news[:-1])
        assert "".join(one.piece for one in news) == answer.text


def test_streamed_draws_are_those_of_the_question_of_that_index(lira, images):
    settings = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 12}
    together = lira(images[0], QUESTIONS[:1] * 3, **settings)
    for index, answer in enumerate(together):
        *_, last = lira.stream(images[0], QUESTIONS[0], draw_index=index, **settings)
        assert last.answer.raw_text == answer.raw_text
    assert len({answer.raw_text for answer in together}) == 3


def test_a_chat_knows_what_was_said(lira, images):
    mask = np.zeros(SIZES[0], bool)
    mask[5:30, 10:40] = True
    said = GroundedText("the cat.", (GroundedSpan(4, 7, "cat", mask),))
    history = [("Please segment the cat.", said)]
    [alone], [after] = lira(images[0], "And the dog?"), lira(images[0], "And the dog?", history=history)
    assert [span.score for span in after.spans] != [span.score for span in alone.spans]
    moved = GroundedText("the cat.", (GroundedSpan(4, 7, "cat", mask[::-1, ::-1].copy()),))
    prompts = [captured(lira, images[0], [(history[0][0], answer)]) for answer in (said, moved)]
    assert torch.equal(prompts[0].input_ids, prompts[1].input_ids)
    assert prompts[0].view_tiles.shape[0] == 1 and not torch.equal(prompts[0].view_tiles, prompts[1].view_tiles)
    assert list(lira.stream(images[0], "And the dog?", history))[-1].answer.raw_text == after.raw_text


def captured(lira, image, history):
    from lira_plugin.inference import read_prompts

    samples = {}
    next(lira.preprocess(read_prompts(image, "And the dog?"), [[0]], samples=samples, history=history))
    return samples[0]


def test_files_hold_what_is_returned(lira, images, tmp_path):
    questions = [*QUESTIONS, QUESTIONS[0], QUESTIONS[0]]
    answers = lira(images, questions, out_dir=tmp_path / "new" / "out", batch_size=2)
    rows = json.loads((tmp_path / "new" / "out" / "predictions.json").read_text())
    assert [(row["image"], row["question"]) for row in rows] == list(zip(images, questions))
    for row, answer, image in zip(rows, answers, images):
        assert row["size"] == list(pixels(image).shape[:2])
        assert (row["text"], row["raw_text"], row["finished"]) == (answer.text, answer.raw_text, answer.finished)
        assert Image.open(tmp_path / "new" / "out" / row["overlay"]).mode == "RGB"
        assert len(row["spans"]) == len(answer.spans)
        for entry, span in zip(row["spans"], answer.spans):
            assert (entry["start"], entry["end"], entry["phrase"]) == (span.start, span.end, span.phrase)
            assert (coco_mask.decode(entry["segmentation"]).astype(bool) == span.mask).all()
            assert (pixels(tmp_path / "new" / "out" / entry["mask"]) == span.mask * 255).all()
            if span.coarse_mask is not None:
                assert (coco_mask.decode(entry["coarse_segmentation"]).astype(bool) == span.coarse_mask).all()
    assert sum(len(answer.spans) for answer in answers) > 0


def test_what_was_answered_before_an_error_is_kept(lira, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="broken"):
        lira([*images, tmp_path / "broken.png"], QUESTIONS[1], out_dir=tmp_path, batch_size=1, max_new_tokens=2)
    assert [row["image"] for row in json.loads((tmp_path / "predictions.json").read_text())] == images


def test_a_recipe_without_preparation_says_so():
    recipe = tiny_recipe()
    recipe.test_dataloader = None
    with pytest.raises(ValueError, match=r"test_dataloader\.dataset\.pipeline"):
        LIRAInferencer(recipe, device="cpu")


def test_what_is_found_and_what_is_not(tmp_path):
    with pytest.raises(ValueError, match="recipe or a work dir"):
        find_recipe(None, None)
    with pytest.raises(FileNotFoundError, match=r"no recipe at .*none\.py"):
        find_recipe(tmp_path / "none.py", None)
    with pytest.raises(FileNotFoundError, match="no recipe"):
        find_recipe(tmp_path, None)
    with pytest.raises(TypeError, match="int"):
        find_recipe(3, None)
    (tmp_path / "a.py").write_text("model = 1")
    for arguments in ((tmp_path, None), (str(tmp_path), None), (None, tmp_path)):
        config, weights = find_recipe(*arguments)
        assert (config.model, weights) == (1, tmp_path)
    config, weights = find_recipe(None, tmp_path / "iter_3.pth")
    assert (config.model, weights) == (1, tmp_path / "iter_3.pth")
    assert find_recipe(tmp_path / "a.py", None)[1] is None
    (tmp_path / "b.py").write_text("model = 2")
    with pytest.raises(ValueError, match=r"a\.py, b\.py"):
        find_recipe(tmp_path, None)
    assert find_recipe({"model": 3}, "w.pth")[0].model == 3


@pytest.mark.parametrize("part", ["mask_decoder", "llm", "pixel_encoder"])
def test_scores_are_numbers_with_weights_that_are_not_finite(lira, images, tmp_path, part):
    """The answers stay JSON; what the weights were is put back."""
    module = getattr(lira.model, part)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(torch.nan)
        answers = lira(images[:2], QUESTIONS[0], force=True, out_dir=tmp_path)
    finally:
        module.load_state_dict(before)
    assert all(np.isfinite(span.score) for answer in answers for span in answer.spans)
    refuse = {"parse_constant": lambda text: pytest.fail(f"{text} is no JSON")}
    assert len(json.loads((tmp_path / "predictions.json").read_text(), **refuse)) == 2


def test_a_checkpoint_that_is_not_finite_is_refused(lira, tmp_path):
    state = {name: tensor.clone() for name, tensor in lira.model.state_dict().items()}
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[0] = torch.inf
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    with pytest.raises(FloatingPointError, match=rf"bad\.pth holds values that are not finite.*{name}"):
        LIRAInferencer(tiny_recipe(), tmp_path / "bad.pth", device="cpu")


WRONG = {
    "max_tokens": ({"max_tokens": 5}, "no setting 'max_tokens'; is 'max_new_tokens' meant.*temperature"),
    "forse": ({"forse": True}, "is 'force' meant"),
    "threshold": ({"threshold": "0.5"}, r"threshold must be a number, got '0\.5' \(str\)"),
    "nan": ({"threshold": float("nan")}, "threshold must lie between 0 and 1"),
    "tokens": ({"max_new_tokens": 2.5}, r"max_new_tokens must be a whole number, got 2\.5"),
    "ilvc": ({"ilvc": "no"}, "ilvc must be True or False, got 'no'"),
    "force": ({"force": "yes"}, "force must be True or False"),
    "batch_size": ({"batch_size": "4"}, "batch_size must be a whole number, got '4'"),
    "temperature": ({"temperature": float("inf"), "do_sample": True}, "need temperature > 0"),
    "stop": ({"stop_strings": 5}, "stop_strings must be a sequence of texts"),
    "history text": (
        {"history": [("q", "text")]},
        r"history\[0\] must be a pair \(question, GroundedText\).*GroundedText\(text\)",
    ),
    "history flat": ({"history": "q"}, "history must be a list of pairs"),
    "history single": ({"history": [GroundedText("a")]}, r"history\[0\] must be a pair"),
    "history none": ({"history": [("q", None)]}, r"history\[0\] must be a pair"),
    "out_dir": ({"out_dir": 5}, "out_dir must be a path or None, got 5"),
    "logits": ({"return_logits": 1}, "return_logits must be True or False"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_say_what_is_right(lira, images, name):
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        lira(images[0], "q", **options)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((5, "q"), r"images must be a path, .*got 5 \(int\)"),
        (({"image": 1}, "q"), "images must be a path"),
        (([5], "q"), "image 1 must be a path, a PIL image or"),
        ((None, 5), "questions must be a text or a list of texts, got 5"),
        ((None, [None]), "questions must be texts"),
    ],
)
def test_wrong_images_and_questions_say_what_is_right(lira, asked, message):
    with pytest.raises(ValueError, match=message):
        lira(*asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float64"}, "'float32', 'bfloat16' or 'float16'"),
        ({"dtype": 16}, "'float32', 'bfloat16' or 'float16'"),
        ({"device": "gpu"}, "device='gpu' cannot be used.*give 'cpu'"),
        ({"device": 5.5}, "device=5.5 cannot be used"),
        ({"weights": 5}, "weights must be a path or None, got 5"),
        ({"compile": "indctor"}, "compile='indctor' is no backend of torch.compile.*aot_eager.*inductor"),
        ({"compile": 1}, "compile must be"),
    ],
)
def test_wrong_arguments_of_the_constructor_say_what_is_right(arguments, message):
    with pytest.raises(ValueError, match=message):
        LIRAInferencer(tiny_recipe(), **{"device": "cpu", **arguments})


def test_a_recipe_with_a_setting_that_does_not_exist_is_refused():
    recipe = tiny_recipe()
    recipe.test_dataloader.dataset.pipeline.tile.max_tile = 3
    with pytest.raises(
        ValueError, match=r"pipeline\.tile \(TileImage\) has no setting 'max_tile'; is 'max_tiles' meant"
    ):
        LIRAInferencer(recipe, device="cpu")
    with pytest.raises(ValueError, match="has no 'model'"):
        LIRAInferencer({"test_dataloader": {}}, device="cpu")
