"""CHAIR over captions, and over files of them with COCO's ground truth."""

import json
import random

import pytest

from lira_plugin.evaluation.chair_files import score_chair_file
from lira_plugin.evaluation.chair_scores import judge_caption, summarise_captions
from lira_plugin.evaluation.coco_objects import read_coco_objects
from lira_plugin.evaluation.object_words import coco_words

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 62, "name": "chair", "supercategory": "furniture"},
]


def instances(images, annotations, categories=CATEGORIES):
    return {
        "info": {"year": 2014},
        "images": [{"id": image, "file_name": f"COCO_val2014_{image:012d}.jpg", "height": 4} for image in images],
        "annotations": [
            {"id": index, "image_id": image, "category_id": category, "segmentation": {"counts": "a"}, "area": 1.5}
            for index, (image, category) in enumerate(annotations)
        ],
        "categories": categories,
    }


@pytest.fixture
def coco(tmp_path):
    """Two files of instances, as val and train, and captions for one of them."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    write(folder / "instances_val2014.json", instances([1, 2, 3], [(1, 18), (1, 18), (2, 1)]))
    write(folder / "instances_train2014.json", instances([4], [(4, 62)]))
    captions = [(1, "A dog on a couch."), (1, "Dogs."), (3, "Nothing here"), (9, "A cat.")]
    captions = [{"id": index, "image_id": image, "caption": text} for index, (image, text) in enumerate(captions)]
    write(folder / "captions_val2014.json", {"images": [], "annotations": captions})
    write(folder / "person_keypoints_val2014.json", {})
    return folder


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_scores_by_hand(coco, tmp_path):
    lines = write_lines(
        tmp_path / "captions.jsonl",
        [
            {"image_id": 1, "caption": "A dog on a sofa beside a cat."},  # the sofa is of a reference caption
            {"image_id": "2", "caption": "Two men, a car and cars"},
            {"record_id": "0", "image": "val/COCO_val2014_000000000003.jpg", "text": "Empty."},
            {"image_id": 4, "caption": "Nothing"},
        ],
    )
    found = score_chair_file(lines, coco)
    assert found.scores == pytest.approx(
        {"CHAIRs": 2 / 4, "CHAIRi": 3 / 6, "recall": 3 / 4, "length": (9 + 7 + 2 + 1) / 4, "captions": 4, "mentions": 6}
    )
    assert found.has_references and "person_keypoints_val2014.json" not in found.data
    first, second, third, _ = [caption.to_json() for caption in found.captions]
    assert (first["CHAIRs"], first["CHAIRi"], first["recall"]) == pytest.approx((1, 1 / 3, 1.0))
    assert first["hallucinated"] == [{"word": "cat", "object": "cat", "start": 25, "end": 28}]
    assert first["objects"] == ["couch", "dog"] and second["score"] == pytest.approx(2 / 3)
    assert third["image_id"] == "3" and (third["CHAIRi"], third["recall"]) == (0.0, 0.0)


def test_the_folder_above_and_a_single_file_are_read_too(coco, tmp_path):
    assert read_coco_objects(tmp_path).of_image("1") == {"dog", "couch"}
    truth = read_coco_objects(coco / "instances_val2014.json")
    assert truth.of_image("1") == {"dog"} and truth.of_image("3") == frozenset() and not truth.captions


def test_files_without_a_list_of_images_have_those_that_they_name(coco):
    for path in coco.glob("instances*.json"):
        write(path, {key: value for key, value in json.loads(path.read_text()).items() if key != "images"})
    truth = read_coco_objects(coco)
    assert {key: set(truth.of_image(key)) for key in truth.instances} == {
        "1": {"dog", "couch"},
        "2": {"person"},
        "3": set(),
        "4": {"chair"},
        "9": {"cat"},
    }


def test_names_of_other_categories_are_the_words(tmp_path):
    shapes = [
        {"id": 1, "name": "small red ring", "supercategory": "ring"},
        {"id": 2, "name": "small blue ring", "supercategory": "ring"},
    ]
    path = write(tmp_path / "instances.json", instances([1], [(1, 1)], shapes))
    lines = write_lines(tmp_path / "lines.jsonl", [{"image_id": 1, "caption": "A small blue ring, two rings, a star."}])
    assert score_chair_file(lines, path).scores["CHAIRi"] == 1.0  # the one name that is written out
    by_shape = score_chair_file(lines, path, category_key="supercategory")
    assert by_shape.scores["CHAIRi"] == 0.0 and by_shape.scores["mentions"] == 2
    own = tmp_path / "own.txt"
    own.write_text("ring, circle\n")
    with pytest.raises(ValueError, match=r"category 1 is 'small red ring', which .*own\.txt does not have"):
        score_chair_file(lines, path, own)


def test_random_captions_against_plain_sums():
    draw = random.Random(1)
    names = ["person", "dog", "chair", "car", "cup"]
    words = coco_words()
    captions, hallucinated, mentioned, bad, recalled, true = [], 0, 0, 0, 0, 0
    for index in range(200):
        objects = frozenset(draw.sample(names, draw.randint(0, 3)))
        said = draw.choices(names, k=draw.randint(0, 5))
        captions.append(judge_caption(str(index), " and ".join(said), objects, words))
        wrong = [name for name in said if name not in objects]
        hallucinated, mentioned, bad = hallucinated + len(wrong), mentioned + len(said), bad + bool(wrong)
        recalled, true = recalled + len(objects & set(said)), true + len(objects)
    found = summarise_captions(captions)
    assert found["CHAIRs"] == bad / 200 and found["CHAIRi"] == hallucinated / mentioned
    assert found["recall"] == recalled / true and found["mentions"] == mentioned


def test_nothing_to_count_is_zero_and_nothing_at_all_an_error():
    found = summarise_captions([judge_caption("1", "", frozenset(), coco_words())])
    assert (found["CHAIRs"], found["CHAIRi"], found["recall"], found["length"]) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="there is no caption to score"):
        summarise_captions([])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no caption"),
        (
            [{"image_id": 7, "caption": "a"}],
            "line 1: image '7' is not in .*instances_train2014.json.*leave the image out",
        ),
        ([{"image_id": 1, "caption": "a"}] * 2, "line 2: image '1' was in .*line 1 already"),
        ([{"caption": "a"}], "line 1 does not say which image it is about"),
        ([{"image_id": 1, "caption": None}], "line 1 needs a text under 'caption'.*its 'caption' is None"),
        ([{"image_id": 1, "answer": "a"}], r"line 1 needs a text.*it has \['answer', 'image_id'\]"),
    ],
)
def test_lines_that_cannot_be_scored_are_named(coco, tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        score_chair_file(write_lines(tmp_path / "lines.jsonl", lines), coco)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"is not a COCO file of instances.*Expected `object`, got `array`; it is \[\]"),
        ({"images": []}, "missing required field `annotations`"),
        (instances([1], [("x", 18)]), "annotation at position 0 names image 'x', which the file does not have"),
        (instances([1], [(1, 18), (1, 5)]), "annotation at position 1 names category 5, which"),
        (
            instances([1], [(1, None)]),
            r"Expected `int \| str`, got `null` - at `\$.annotations\[0\].category_id`; it is None",
        ),
        (instances([1], [], [{"id": 1, "name": " "}]), "category 1 has the name ' '"),
        (instances([1], [], [{"id": 1, "name": 5}]), r"categories\[0\].name`; it is 5"),
    ],
)
def test_files_of_another_layout_are_refused_with_the_value(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"i\.json.*{message}"):
        read_coco_objects(write(tmp_path / "i.json", content))


def test_a_folder_without_instances_and_a_cut_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no instances\*\.json"):
        read_coco_objects(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        read_coco_objects(tmp_path / "none")
    (tmp_path / "i.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"i\.json is not a JSON file \(is it complete\?\)"):
        read_coco_objects(tmp_path / "i.json")
    content = json.dumps(instances([1], [(1, 18)])).replace("1.5", "NaN")
    (tmp_path / "i.json").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert read_coco_objects(tmp_path / "i.json").of_image("1") == {"dog"}
