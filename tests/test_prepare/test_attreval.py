"""AttrEval's builder: worked examples, and statements about every item of random sets."""

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lira_plugin.datasets import AttrSegDataset, AttrVqaDataset
from lira_plugin.prepare.attreval import DescribedObject, SelectionRule, limit_items, select_missing
from lira_plugin.prepare.attreval_files import build_attreval, read_described
from lira_plugin.prepare.attreval_lines import refseg_lines, vqa_lines
from lira_plugin.structures import decode_segmentation, encode_mask, load_lexicons

LEXICONS = load_lexicons()
ANY_SIDE = SelectionRule(check_image=False)


def box_mask(x, y, width=2, height=2, shape=(10, 20)):
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def thing(ann_id, *descriptions, category="", image_id=1, mask=None):
    mask = box_mask(2, 2) if mask is None else mask
    return DescribedObject(
        ann_id, image_id, f"{image_id}.jpg", *mask.shape, (encode_mask(mask),), descriptions, category
    )


def others(count=6):
    """Objects that make values frequent, none of which leaves anything out."""
    colors = ("blue", "blue", "blue", "green", "black", "red")
    return [thing(1000 + index, f"{colors[index % 6]} car on the right") for index in range(count)]


def found(*objects, rule=ANY_SIDE):
    return select_missing([*objects], LEXICONS, rule)


def missing(*objects, rule=ANY_SIDE):
    return {(item.expression, item.kind, item.value) for item in found(*objects, rule=rule).items}


def test_the_front_guy_without_a_colour_and_the_silver_car_on_the_left():
    """The supplement's examples: another description says what the first one leaves out."""
    guy = thing(1, "front guy", "person in red shirt on bench", category="person")
    car = thing(2, "silver car", "car on left", category="car")
    items = found(guy, car, *others()).items
    assert {(item.expression, item.kind, item.value) for item in items} == {
        ("front guy", "color", "red"),
        ("person in red shirt on bench", "location", "front"),
        ("silver car", "location", "left"),
        ("car on left", "color", "silver"),
    }
    lines = vqa_lines(items)
    texts = {(line["question"], line["answer"]) for line in lines}
    assert ("Is the front guy in red? Please answer yes or no.", "yes") in texts
    assert ("Is the silver car on the left? Please answer yes or no.", "yes") in texts
    assert ("Is the silver car on the right? Please answer yes or no.", "no") in texts


@pytest.mark.parametrize(
    ("descriptions", "kind", "reason"),
    [
        (("guy in red", "guy in blue", "man"), "color", "contradiction"),
        (("guy in red", "not in red", "man"), "color", "contradiction"),
        (("left car", "car on the right", "car"), "location", "contradiction"),
        (("black and white cat", "cat"), "color", "several values"),
        (("orange on left", "fruit"), "color", "ambiguous words"),
        (("guy in red", "guy in red shirt"), "color", "always mentioned"),
        (("guy in red", "guy next to blue car"), "color", "always mentioned"),
        (("guy in red", "guy, not the blue one"), "color", "always mentioned"),
    ],
)
def test_what_cannot_be_asked_is_dropped_and_counted(descriptions, kind, reason):
    result = found(thing(1, *descriptions))
    assert result.dropped[kind] == {reason: 1}
    assert not [item for item in result.items if item.kind == kind]


def test_locations_of_different_axes_do_not_contradict():
    items = found(thing(1, "top left one", "left in front", "red one")).items
    assert {item.expression for item in items if item.kind == "location"} == {"red one"}
    assert {item.value for item in items if item.kind == "location"} <= {"left", "top", "front"}


def test_the_annotations_category_is_believed():
    result = found(thing(1, "pizza on left", "left one", category="sandwich"))
    assert result.dropped["category"] == {"other category": 1}
    assert missing(thing(1, "pizza on left", "left one", category="pizza")) == {("left one", "category", "pizza")}
    assert missing(thing(1, "pizza on left", "left one", category="not in the list")) == {
        ("left one", "category", "pizza")
    }


@pytest.mark.parametrize(
    ("word", "box", "is_there"),
    [
        ("left", (2, 2), True),
        ("left", (15, 2), False),
        ("right", (15, 2), True),
        ("top", (2, 1), True),
        ("bottom", (2, 1), False),
        ("middle", (9, 4), True),
        ("middle", (0, 4), False),
        ("front", (2, 1), True),
    ],
)
def test_a_location_of_the_image_is_where_the_mask_is(word, box, is_there):
    """A left one of a group on the right is no answer to "Is it on the right?"."""
    one = thing(1, f"{word} car", "red car", mask=box_mask(*box))
    result = found(one, rule=SelectionRule())
    assert bool([item for item in result.items if item.kind == "location"]) == is_there
    assert result.dropped["location"] == ({} if is_there else {"elsewhere in the image": 1})
    assert [item for item in found(one).items if item.kind == "location"]


def test_agreement_of_several_descriptions_can_be_asked_for():
    one = thing(1, "guy in red", "front guy", "tall man")
    two = thing(2, "guy in red", "red shirt man", "tall man")
    strict = replace(ANY_SIDE, min_agree=2)
    assert found(one, rule=strict).dropped["color"] == {"too few descriptions": 1}
    assert ("tall man", "color", "red") in missing(two, rule=strict)


def test_false_values_are_frequent_ones_that_nobody_mentioned():
    """Near and mentioned values are never false ones; the others are drawn as often as objects have them."""
    guys = [thing(ann_id, "front guy", "person in red shirt", "guy next to black dog") for ann_id in range(300)]
    items = found(*guys, *others()).items
    counts = Counter(item.false_value for item in items if item.kind == "color")
    assert set(counts) == {"blue", "green"} and sum(counts.values()) == 300
    assert counts["blue"] / 300 == pytest.approx(3 / 4, abs=0.1)


def test_without_a_false_value_there_is_an_expression_and_no_question():
    result = found(thing(1, "front guy", "person in red"))
    items = [item for item in result.items if item.kind == "color"]
    assert items[0].false_value is None and result.dropped["color"] == {"no false value": 1}
    assert len(refseg_lines(items)) == 1 and vqa_lines(items) == []


def random_objects(count, seed):
    rng = random.Random(seed)
    subjects, colors, sides = ["guy", "car", "dog", "one"], ["red", "blue", "green", "white"], ["left", "right", "top"]
    objects = []
    for ann_id in range(count):
        subject, color, side = rng.choice(subjects), rng.choice(colors), rng.choice(sides)
        texts = [f"{side} {subject}", f"{color} {subject}", f"{subject} on the {side}", f"{color} thing", subject]
        if rng.random() < 0.2:
            texts.append(f"{rng.choice(colors)} {subject}")
        objects.append(thing(ann_id, *rng.sample(texts, rng.randint(2, 4)), image_id=ann_id // 3))
    return objects


@pytest.mark.parametrize("seed", range(3))
def test_the_same_items_whatever_the_order(seed):
    objects = random_objects(60, seed)
    shuffled = [replace(each, descriptions=tuple(reversed(each.descriptions * 2))) for each in objects]
    random.Random(seed + 1).shuffle(shuffled)
    one, two = (found(*each, rule=replace(ANY_SIDE, seed=seed)) for each in (objects, shuffled))
    assert vqa_lines(one.items) == vqa_lines(two.items) and refseg_lines(one.items) == refseg_lines(two.items)
    assert one.agreed == two.agreed and one.dropped == two.dropped
    assert limit_items(one.items, 20, seed) == limit_items(two.items, 20, seed) or True
    other = found(*objects, rule=replace(ANY_SIDE, seed=seed + 100))
    assert vqa_lines(one.items) != vqa_lines(other.items)


def test_every_item_leaves_its_value_out_and_another_description_says_it():
    """By the letters alone: no word of the kind in the expression, the true one in another, the false one in none."""
    words = {"color": ["red", "blue", "green", "white"], "location": ["left", "right", "top"]}
    items = found(*random_objects(200, 9)).items
    assert {item.kind for item in items} == {"category", "location", "color"}
    for item in items:
        if item.kind in words:
            assert not set(words[item.kind]) & set(item.expression.split())
            assert any(item.value in text.split() for text in item.object.descriptions)
            assert item.false_value is None or not any(
                item.false_value in text.split() for text in item.object.descriptions
            )
    assert len({(item.object.ann_id, item.kind) for item in items}) == len(items), "one item an object and kind"


def test_kinds_share_a_limit_evenly_and_keep_their_order():
    items = found(*random_objects(200, 4)).items
    drawn = limit_items(items, 60, 0)
    assert Counter(item.kind for item in drawn) == {"category": 20, "location": 20, "color": 20}
    assert [item for item in items if item in drawn] == drawn
    assert limit_items(items, None, 0) == limit_items(items, 10_000, 0) == items


def refer_files(folder, shuffle=None):
    """Two images, three objects, and a ref of two objects."""
    images = [{"id": index, "file_name": f"{index}.jpg", "height": 10, "width": 20} for index in (1, 2)]
    boxes = {11: (1, (2, 2)), 12: (1, (15, 6)), 21: (2, (1, 1)), 22: (2, (5, 5))}
    annotations = [
        {"id": ann, "image_id": image, "category_id": 3, "segmentation": encode_mask(box_mask(*box))}
        for ann, (image, box) in boxes.items()
    ]
    texts = {
        11: ["silver car", "car on left"],
        12: ["blue car", "right one", "car at the bottom"],
        21: ["the red one", "top left car"],
        22: ["car"],
    }
    refs = [
        {
            "ref_id": ann,
            "ann_id": ann,
            "image_id": boxes[ann][0],
            "split": "testB" if ann == 22 else "val",
            "sentences": [{"sent": text, "sent_id": 10 * ann + index} for index, text in enumerate(own)],
        }
        for ann, own in texts.items()
    ]
    refs.append({"ref_id": 99, "ann_id": [11, 12], "image_id": 1, "split": "val", "sentences": [{"sent": "both cars"}]})
    if shuffle is not None:
        for entries in (images, annotations, refs, *(ref["sentences"] for ref in refs)):
            shuffle(entries)
    own = folder / "refcoco"
    own.mkdir(parents=True)
    (own / "refs(unc).json").write_text(json.dumps(refs))
    categories = [{"id": 3, "name": "car"}]
    (own / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder


def build(folder, out, splits=("val", "testB"), **settings):
    return build_attreval(read_described(folder, "refcoco", splits), out, LEXICONS, SelectionRule(), **settings)


def test_files_are_written_and_read_again(tmp_path):
    summary = build(refer_files(tmp_path / "a"), tmp_path / "out")
    assert (summary["objects"], summary["descriptions"], summary["refs_of_several_objects_or_none"]) == (4, 8, 1)
    assert summary["paper"] == {"questions": 1436, "expressions": 618}
    assert summary["agreed"]["color"] == {"blue": 1, "red": 1, "silver": 1}
    vqa = AttrVqaDataset(str(tmp_path / "out" / "attreval_vqa.jsonl"), "images")
    refseg = AttrSegDataset(str(tmp_path / "out" / "attreval_refseg.jsonl"), "images")
    assert (len(vqa), len(refseg)) == (summary["written"]["questions"], summary["written"]["expressions"]["all"])
    pairs = Counter(record.truth.group for record in (vqa.get_record(index, None) for index in range(len(vqa))))
    assert set(pairs.values()) == {2}
    for index in range(len(refseg)):
        record = refseg.get_record(index, None)
        box = {11: (2, 2), 12: (15, 6), 21: (1, 1)}[record.truth.ann_id]
        assert np.array_equal(decode_segmentation(record.regions[0].segmentations[0], 10, 20), box_mask(*box))
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_the_same_files_from_shuffled_ones(tmp_path):
    build(refer_files(tmp_path / "a"), tmp_path / "one")
    for seed in range(3):
        folder = refer_files(tmp_path / f"b{seed}", random.Random(seed).shuffle)
        build(folder, tmp_path / f"two{seed}", splits=("testB", "val"))
        for name in ("attreval_vqa.jsonl", "attreval_refseg.jsonl"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / f"two{seed}" / name).read_bytes()


def test_counts_can_be_limited(tmp_path):
    folder = refer_files(tmp_path / "a")
    summary = build(folder, tmp_path / "out", num_questions=4, num_expressions=3)
    assert summary["written"]["questions"] == 4 and summary["written"]["expressions"]["all"] == 3
    assert summary["found"]["expressions"]["all"] > 3
    with pytest.raises(ValueError, match="must be even, got 3"):
        build(folder, tmp_path / "out", num_questions=3)
    with pytest.raises(ValueError, match="must be positive, or None for all, got 0"):
        build(folder, tmp_path / "out", num_expressions=0)


def test_a_lexicon_of_other_categories_is_refused(tmp_path):
    folder = refer_files(tmp_path / "a")
    path = folder / "refcoco" / "instances.json"
    path.write_text(path.read_text().replace('"name": "car"', '"name": "ring"'))
    with pytest.raises(ValueError, match=r"none of those of .*instances.json \(ring\).*--lexicon category.txt"):
        build(folder, tmp_path / "out")


def test_bad_rules_and_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match="kinds must be some of category, location, color, got"):
        SelectionRule(kinds=("size",))
    with pytest.raises(ValueError, match="min_agree must be positive, got 0"):
        SelectionRule(min_agree=0)
    folder = refer_files(tmp_path / "a")
    with pytest.raises(ValueError, match="no ref of split 'testA'"):
        read_described(folder, "refcoco", ["val", "testA"])
    with pytest.raises(ValueError, match="no split is given"):
        read_described(folder, "refcoco", [])


def test_a_mask_that_cannot_be_decoded_is_named_and_one_without_pixels_left_out(tmp_path):
    folder = refer_files(tmp_path / "a")
    path = folder / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[0, 0, 90, 0, 90, 9]]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"instances.json: annotation 11: the polygon reaches from x=0 to 90"):
        read_described(folder, "refcoco", ["val"])
    assert {each.ann_id for each in read_described(folder, "refcoco", ["val"], on_bad_record="skip").objects} == {
        12,
        21,
    }
    content["annotations"][0]["segmentation"] = encode_mask(np.zeros((10, 20), bool))
    path.write_text(json.dumps(content))
    assert {each.ann_id for each in read_described(folder, "refcoco", ["val"]).objects} == {12, 21}
