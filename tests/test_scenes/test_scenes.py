"""Scenes say what they show: a second, brute-force reading of the sentences, and the files decoded again."""

import json
import pickle
import re
import socket
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lira_plugin.datasets import ReasonSegDataset
from lira_plugin.scenes import scene_files
from lira_plugin.scenes.scene_drawing import DIAMETERS, MIN_VISIBLE, load_photos, make_scene
from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, SIZES, group_sentences
from lira_plugin.scenes.scene_records import ROUND_CATEGORIES, file_name_of, image_id_of
from lira_plugin.structures import decode_union

NUM_TRAIN, NUM_EVAL, SEED = 60, 12, 5
SPLITS = ("train", "val", "testA", "testB")


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(np.random.default_rng((11, i))) for i in range(300)]


@pytest.fixture(scope="module")
def easy_scenes():
    return [make_scene(np.random.default_rng((12, i)), size=64, level="easy") for i in range(100)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), NUM_TRAIN, NUM_EVAL, SEED, progress=False)


@pytest.fixture(scope="module")
def written(files):
    """The scenes behind the files, by image id."""
    found = {}
    for split in SPLITS:
        for i in range(NUM_TRAIN if split == "train" else NUM_EVAL):
            rng = np.random.default_rng((SEED, SPLITS.index(split), i))
            found[image_id_of(split, i)] = make_scene(rng)
    return found


def load_refs(files):
    return pickle.loads((files.refcoco / "refs(unc).p").read_bytes())


def load(path):
    return json.loads(path.read_text())


# --- what sentences mean, said again and naively ---


def centre(thing):
    """From the pixels: the middle of the bounding box of the visible part."""
    x, y, width, height = thing.bbox
    return x + width / 2, y + height / 2


def fits(words, thing):
    """Whether every word of a noun phrase ("small red circle") is true of the object."""
    return all(word in (thing.category, thing.colour, thing.size, "object") for word in words)


def is_beside(relation, thing, anchor, slack):
    """Whether the object is on that side of the anchor at all; ``slack`` pixels in favour of yes."""
    (x, y), (anchor_x, anchor_y) = thing.centre, anchor.centre
    gap = {"left of": anchor_x - x, "right of": x - anchor_x, "above": anchor_y - y, "below": y - anchor_y}[relation]
    return gap > -slack


def meant(sentence, things):
    """The objects that a sentence can mean."""
    relation = re.fullmatch(r"(.+) (left of|right of|above|below) the (.+)", sentence)
    if relation:
        name, side, anchor_name = relation.groups()
        anchors = [thing for thing in things if fits(anchor_name.split(), thing)]
        assert len(anchors) == 1, f"{sentence}: the anchor is ambiguous"
        group = [thing for thing in things if fits(name.split(), thing) and thing is not anchors[0]]
        return [thing for thing in group if is_beside(side, thing, anchors[0], 0)]
    place = re.fullmatch(r"(left|right|top|bottom) (.+)|(.+) (?:on|at) the (left|right|top|bottom)", sentence)
    if place:
        direction, name = (place[1], place[2]) if place[1] else (place[4], place[3])
        group = [thing for thing in things if fits(name.split(), thing)]
        axis, sign = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}[direction]
        best = min(sign * centre(thing)[axis] for thing in group)
        return [thing for thing in group if sign * centre(thing)[axis] == best]
    return [thing for thing in things if fits(sentence.split(), thing)]


def test_every_sentence_means_exactly_its_object(scenes):
    for scene in scenes:
        for thing, sentences in zip(scene.objects, scene.sentences, strict=True):
            assert len({sentence.text for sentence in sentences}) == len(sentences) <= 3
            for sentence in sentences:
                assert [id(other) for other in meant(sentence.text, scene.objects)] == [id(thing)], sentence


def test_easy_scenes_have_few_words_and_colours_that_tell_objects_apart(easy_scenes):
    counts = Counter(len(scene.objects) for scene in easy_scenes)
    assert set(counts) == {2, 3} and min(counts.values()) > 20
    for scene in easy_scenes:
        colours = [thing.colour for thing in scene.objects]
        assert len(set(colours)) == len(colours)
        for thing, sentences in zip(scene.objects, scene.sentences, strict=True):
            assert thing.category in ("circle", "triangle", "cross")
            assert thing.colour in ("red", "green", "blue", "yellow")
            assert 2 <= len(sentences) <= 3
            for sentence in sentences:
                words = {thing.category, thing.colour, thing.size, "object"}
                assert set(sentence.text.split()) <= words, "positions and other objects are not named"
                assert [id(other) for other in meant(sentence.text, scene.objects)] == [id(thing)], sentence


def test_relations_and_places_have_a_margin(scenes):
    for scene in scenes:
        side = max(scene.image.shape)
        for thing, sentences in zip(scene.objects, scene.sentences, strict=True):
            for sentence in sentences:
                if sentence.kind == "relation":
                    _, side_words, anchor_name = re.fullmatch(
                        r"(.+) (left of|right of|above|below) the (.+)", sentence.text
                    ).groups()
                    anchor = next(other for other in scene.objects if fits(anchor_name.split(), other))
                    assert is_beside(side_words, thing, anchor, -0.11 * side)
                if sentence.kind == "place":
                    name = [word for word in sentence.text.split() if word in CATEGORIES + COLOURS]
                    group = [other for other in scene.objects if fits(name, other)]
                    assert len(group) > 1
                    axis = 0 if re.search("left|right", sentence.text) else 1
                    gaps = [abs(thing.centre[axis] - o.centre[axis]) for o in group if o is not thing]
                    assert min(gaps) >= 0.11 * side
                    share = thing.centre[axis] / scene.image.shape[1 - axis]
                    assert share < 0.46 if re.search("left|top", sentence.text) else share > 0.54


def test_kinds_are_balanced(scenes):
    kinds = Counter(sentence.kind for scene in scenes for told in scene.sentences for sentence in told)
    shares = {kind: count / kinds.total() for kind, count in kinds.items()}
    assert set(shares) == {
        "category", "colour_category", "size_category", "size_colour_category", "colour", "place", "relation"
    }  # fmt: skip
    assert 0.05 <= shares["relation"] <= 0.25
    assert shares["category"] <= 0.4
    assert min(shares.values()) > 0.05


def test_most_sentences_need_more_than_the_category(scenes):
    needing = total = 0
    for scene in scenes:
        categories = Counter(thing.category for thing in scene.objects)
        for thing, sentences in zip(scene.objects, scene.sentences, strict=True):
            total += len(sentences)
            if categories[thing.category] > 1:
                needing += len(sentences)
                assert all(sentence.kind != "category" for sentence in sentences)
    assert needing / total >= 0.6


def test_groups_name_all_that_fit(scenes):
    for scene in scenes[:100]:
        for text, members in group_sentences(scene.objects):
            words = text.split()[1:]
            named = {singular(word) for word in words}
            assert members == tuple(i for i, thing in enumerate(scene.objects) if fits(named, thing))
            assert len(members) == 2 if text.startswith("both") else len(members) >= 2


def singular(word):
    return next((name for name in (*CATEGORIES, "object") if word in (name + "s", name + "es")), word)


def test_questions_have_right_answers(scenes):
    answers = Counter()
    for scene in scenes:
        lists = [question for question in scene.questions if question.kind == "list"]
        descriptions = [question for question in scene.questions if question.kind == "description"]
        assert len(lists) <= 1 and 7 <= len(scene.questions) - len(lists) - len(descriptions) <= 9
        described = []
        for question in scene.questions:
            words = question.question.lower().rstrip("?").split()
            if question.kind == "colour":
                assert question.question.startswith("What color is the ")
                (thing,) = [thing for thing in scene.objects if fits(words[4:], thing)]
                assert question.answer == thing.colour
            elif question.kind == "count":
                named = [singular(word) for word in words[2:-2]]
                assert question.answer == str(sum(fits(named, thing) for thing in scene.objects))
            elif question.kind == "list":
                named = [name.split() for name in question.answer.split(", ")]
                ordered = sorted(scene.objects, key=lambda thing: thing.centre[0])
                assert named == [[thing.size, thing.colour, thing.category] for thing in ordered]
                gaps = np.diff([thing.centre[0] for thing in ordered])
                assert gaps.min() >= 0.029 * max(scene.image.shape)
                answers["list"] += 1
            elif question.kind == "description":
                sentence = question.question.removeprefix("What is the ").removesuffix("?")
                (thing,) = [
                    thing
                    for thing, sentences in zip(scene.objects, scene.sentences)
                    if sentence in {sentence.text for sentence in sentences}
                ]
                answer = question.answer.split()
                assert sorted(answer) == sorted([thing.size, thing.colour, thing.category])
                told = [word in sentence.split() for word in answer]
                assert told == sorted(told, reverse=True) and not all(told), "first what was said, then something new"
                described.append(thing)
            else:
                exists = any(fits(words[3:], thing) for thing in scene.objects)
                assert question.answer == ("yes" if exists else "no")
                answers[question.answer] += 1
        assert len(described) == len(set(map(id, described)))
        answers["description"] += len(described)
    assert answers["description"] > 0.9 * sum(len(scene.objects) for scene in scenes)
    assert 0.4 < answers["yes"] / (answers["yes"] + answers["no"]) < 0.6
    assert answers["list"] > 0.5 * len(scenes)


def test_captions_go_from_left_to_right(scenes):
    for scene in scenes:
        leftmost = [min(scene.objects[index].centre[0] for index in span.objects) for span in scene.caption.spans]
        assert leftmost == sorted(leftmost)
    assert sum(len(scene.caption.spans) > 2 for scene in scenes) > len(scenes) / 4


def test_caption_spans_are_their_phrases(scenes):
    numbers = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
    for scene in scenes:
        caption, end, named = scene.caption, 0, []
        assert caption.text[0].isupper() and caption.text.endswith(".") and caption.spans
        for span in caption.spans:
            assert end <= span.start < span.end <= len(caption.text)
            end = span.end
            number, *words = caption.phrase(span).lower().split()
            assert numbers[number] == len(span.objects)
            name = re.sub(r" (on|at) the .*", "", " ".join(singular(word) for word in words))
            assert all(fits(name.split(), scene.objects[index]) for index in span.objects)
            if " the " not in caption.phrase(span):
                assert sum(fits(name.split(), thing) for thing in scene.objects) == len(span.objects)
            named += span.objects
        assert len(set(named)) == len(named)
        phrases = [caption.phrase(span) for span in caption.spans]
        assert len(set(phrases)) == len(phrases) <= 4


# --- what scenes look like ---


def test_scenes_are_deterministic():
    first, again, other = (make_scene(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert first.sentences == again.sentences and first.caption == again.caption and first.questions == again.questions
    assert first.caption != other.caption


def test_objects_and_masks(scenes):
    sizes = set()
    for scene in scenes:
        height, width = scene.image.shape[:2]
        sizes.add((height, width))
        assert 2 <= len(scene.objects) <= 6
        masks = np.stack([thing.mask for thing in scene.objects])
        assert masks.dtype == bool and masks.shape[1:] == (height, width)
        assert masks.sum(0).max() <= 1, "visible masks overlap"
        for thing in scene.objects:
            ys, xs = np.nonzero(thing.mask)
            assert thing.bbox == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
            assert thing.area == len(xs) >= MIN_VISIBLE * thing.full_area
            low, high = DIAMETERS[thing.size]
            assert low <= thing.diameter / max(height, width) <= high
    assert sizes == {(128, 128), (96, 128), (128, 96)}


def test_objects_show_their_colour(scenes):
    paint = {"red": (216, 36, 36), "green": (36, 160, 58), "blue": (44, 82, 226), "yellow": (246, 220, 44)}
    paint |= {"purple": (160, 50, 196), "orange": (246, 132, 24), "cyan": (60, 214, 226), "white": (244, 244, 244)}
    paint = {colour: np.array(rgb) for colour, rgb in paint.items()}
    for scene in scenes:
        for thing in scene.objects:
            shown = np.median(scene.image[thing.mask].astype(float), axis=0)
            distances = {colour: np.abs(shown / shown.max() - rgb / rgb.max()).sum() for colour, rgb in paint.items()}
            assert min(distances, key=distances.get) == thing.colour


def test_size_scales_and_bad_settings_are_refused():
    assert max(make_scene(np.random.default_rng(0), size=200).image.shape) == 200
    with pytest.raises(ValueError, match="64"):
        make_scene(np.random.default_rng(0), size=32)
    with pytest.raises(ValueError, match="'sky'"):
        make_scene(np.random.default_rng(0), background="sky")
    with pytest.raises(ValueError, match="'full', 'easy', got 'hard'"):
        make_scene(np.random.default_rng(0), level="hard")


def test_photographs_without_network(monkeypatch):
    pytest.importorskip("skimage")

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    load_photos.cache_clear()
    assert len(load_photos()) >= 4
    scene = make_scene(np.random.default_rng(0), background="photo")
    empty = ~np.any([thing.mask for thing in scene.objects], axis=0)
    assert scene.image[empty].max() < 200, "the background competes with the objects"


def test_photographs_of_ones_own():
    photo = np.full((90, 300, 3), 200, np.uint8)
    scene = make_scene(np.random.default_rng(0), background="photo", photos=[photo])
    empty = ~np.any([thing.mask for thing in scene.objects], axis=0)
    assert np.median(scene.image[empty]) == 114  # dimmed to half, plus 14


# --- what is on disk ---


def test_files_are_byte_identical_and_kept(files, tmp_path):
    again = write_scenes(tmp_path / "a", NUM_TRAIN, NUM_EVAL, SEED, progress=False)
    for path in sorted(path for path in files.root.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again.root / path.relative_to(files.root)).read_bytes(), path
    stamps = {path: path.stat().st_mtime_ns for path in files.root.rglob("*")}
    assert write_scenes(files.root, NUM_TRAIN, NUM_EVAL, SEED, progress=False) == files
    assert stamps == {path: path.stat().st_mtime_ns for path in files.root.rglob("*")}
    with pytest.raises(ValueError, match=r"seed 5 there, 6 asked.*Choose another folder"):
        write_scenes(files.root, NUM_TRAIN, NUM_EVAL, SEED + 1, progress=False)
    with pytest.raises(ValueError, match=r"level None there, 'easy' asked"):
        write_scenes(files.root, NUM_TRAIN, NUM_EVAL, SEED, progress=False, level="easy")


def test_more_scenes_keep_the_first_ones(tmp_path):
    few, many = (write_scenes(tmp_path / str(n), n, 1, progress=False) for n in (3, 5))
    for path in few.images.iterdir():
        assert path.read_bytes() == (many.images / path.name).read_bytes()
    assert (
        load(many.coco_train)["annotations"][: len(load(few.coco_train)["annotations"])]
        == load(few.coco_train)["annotations"]
    )


def test_interrupted_and_damaged_folders_are_redone(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(scene_files, "_write_annotations", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_scenes(tmp_path, 3, 1, progress=False)
    assert not (tmp_path / "scenes.json").exists()
    files = write_scenes(tmp_path, 3, 1, progress=False)
    settings = load(tmp_path / "scenes.json")
    assert settings["num_train"] == 3 and settings["background"] == "plain" and settings["version"] >= 1
    lost = sorted(files.images.iterdir())[0]
    data = lost.read_bytes()
    lost.unlink()
    write_scenes(tmp_path, 3, 1, progress=False)
    assert lost.read_bytes() == data
    question = next(files.reason_seg.rglob("COCO*.json"))
    data = question.read_bytes()
    question.unlink()
    write_scenes(tmp_path, 3, 1, progress=False)
    assert question.read_bytes() == data


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        write_scenes(tmp_path, 2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="positive"):
        write_scenes(tmp_path / "new", 0, 1)
    with pytest.raises(ValueError, match="64"):
        write_scenes(tmp_path / "new", 1, 1, size=16)
    assert not (tmp_path / "new").exists()


def decode(segmentation, height, width):
    rle = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(coco_mask.merge(rle) if isinstance(segmentation, list) else rle).astype(bool)


def check_instances(content, written):
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert list(names) == list(range(1, len(names) + 1)) and len(names) in (
        len(CATEGORIES),
        len(CATEGORIES) * len(COLOURS) * len(SIZES),
    )
    forms = Counter()
    by_image = Counter()
    for annotation in content["annotations"]:
        scene = written[annotation["image_id"]]
        thing = scene.objects[by_image[annotation["image_id"]]]
        by_image[annotation["image_id"]] += 1
        forms[type(annotation["segmentation"])] += 1
        mask = decode(annotation["segmentation"], *sizes[annotation["image_id"]])
        if isinstance(annotation["segmentation"], dict):
            assert isinstance(annotation["segmentation"]["counts"], list)
            assert np.array_equal(mask, thing.mask)
        else:
            assert (mask & thing.mask).sum() > 0.95 * (mask | thing.mask).sum()
        assert annotation["area"] == thing.mask.sum() and tuple(annotation["bbox"]) == thing.bbox
        assert names[annotation["category_id"]] in (thing.category, f"{thing.size} {thing.colour} {thing.category}")
        assert annotation["iscrowd"] == 0
    assert by_image == {image: len(written[image].objects) for image in sizes}
    assert len({annotation["id"] for annotation in content["annotations"]}) == by_image.total()
    assert set(forms) == {list, dict} and min(forms.values()) > 0.2 * forms.total()


def test_instances_decode_to_the_visible_masks(files, written):
    for path in (files.refcoco / "instances.json", files.grefcoco / "instances.json", files.coco_train, files.coco_val):
        check_instances(load(path), written)
    assert {image["id"] for image in load(files.refcoco / "instances.json")["images"]} == set(written)


def test_images_are_the_scenes(files, written):
    for image in load(files.refcoco / "instances.json")["images"]:
        pixels = cv2.imread(str(files.images / image["file_name"]))[:, :, ::-1]
        assert pixels.shape == (image["height"], image["width"], 3)
        assert np.abs(pixels.astype(int) - written[image["id"]].image).mean() < 5


def test_refcoco(files, written):
    annotations = {a["id"]: a for a in load(files.refcoco / "instances.json")["annotations"]}
    refs = load_refs(files)
    images, sent_ids, repeated, total = {split: set() for split in SPLITS}, [], 0, 0
    for ref in refs:
        annotation = annotations[ref["ann_id"]]
        assert annotation["image_id"] == ref["image_id"] and annotation["category_id"] == ref["category_id"]
        images[ref["split"]].add(ref["image_id"])
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
        sent_ids += ref["sent_ids"]
        things = written[ref["image_id"]].objects
        category = CATEGORIES[ref["category_id"] - 1]
        if ref["split"] in ("testA", "testB"):
            assert (category in ROUND_CATEGORIES) == (ref["split"] == "testA")
        for sentence in ref["sentences"]:
            assert sentence["sent"] == sentence["sent"].lower() == " ".join(sentence["tokens"])
            (thing,) = meant(sentence["sent"], things)
            assert tuple(annotation["bbox"]) == thing.bbox
            total += 1
            repeated += sum(other.category == category for other in things) > 1
    assert repeated / total >= 0.5
    assert len(set(sent_ids)) == len(sent_ids) and len({ref["ref_id"] for ref in refs}) == len(refs)
    assert all(images.values()) and sum(map(len, images.values())) == len(set.union(*images.values()))


def test_grefcoco(files, written):
    annotations = {a["id"]: a for a in load(files.grefcoco / "instances.json")["annotations"]}
    refs = load(files.grefcoco / "grefs(unc).json")
    numbers = Counter()
    for ref in refs:
        (sentence,) = ref["sentences"]
        things = written[ref["image_id"]].objects
        assert ref["no_target"] == (ref["ann_id"] == [-1])
        boxes = {tuple(annotations[ann]["bbox"]) for ann in ref["ann_id"] if ann != -1}
        if len(boxes) > 1:
            named = {singular(word) for word in sentence["sent"].split()[1:]}
            assert boxes == {thing.bbox for thing in things if fits(named, thing)}
        else:
            assert boxes == {thing.bbox for thing in meant(sentence["sent"], things)}
        numbers[min(len(boxes), 2)] += 1
    assert {ref["split"] for ref in refs} == {"train", "val"}
    assert numbers[0] >= 0.2 * len(refs) and numbers[2] >= 0.2 * len(refs) and numbers[1] >= 0.2 * len(refs)


def test_grandf(files, written):
    several = 0
    for path, number in ((files.grandf_train, NUM_TRAIN), (files.grandf_val, NUM_EVAL)):
        records = load(path)
        assert len(records) == number
        for record in records:
            scene = written[int(record["image_id"])]
            assert (record["height"], record["width"]) == scene.image.shape[:2]
            assert (files.images / record["file_name"]).is_file()
            assert len(record["groundings"]) == len(scene.caption.spans)
            for (phrase, grounding), span in zip(record["groundings"].items(), scene.caption.spans, strict=True):
                start, end = grounding["token_positives"]
                assert record["caption"][start:end] == phrase
                masks = [coco_mask.decode(rle).astype(bool) for rle in grounding["rle_masks"]]
                assert np.array_equal(masks, [scene.objects[index].mask for index in span.objects])
                several += len(masks) > 1
    assert several


def test_ground_truth_of_grounded_captions(files, written):
    """In the official layout, as pycocotools reads it: a mask a phrase, test from the images of testA and testB."""
    described = {}
    for split, count in (("val", NUM_EVAL), ("test", 2 * NUM_EVAL)):
        masks, captions = (load(files.gcg / f"{split}_gcg_coco_{kind}_gt.json") for kind in ("mask", "caption"))
        assert masks["images"] == captions["images"] and len(masks["images"]) == count
        own = {image["id"]: [] for image in masks["images"]}
        for index, annotation in enumerate(masks["annotations"], 1):
            assert annotation["id"] == index and annotation["category_id"] == 1 and annotation["iscrowd"] == 0
            assert annotation["area"] == coco_mask.area(annotation["segmentation"])
            own[annotation["image_id"]].append(coco_mask.decode(annotation["segmentation"]).astype(bool))
        assert [entry["image_id"] for entry in captions["annotations"]] == list(own)
        for image, said in zip(captions["images"], captions["annotations"], strict=True):
            assert image["file_name"] == image["id"] + ".jpg" and (files.images / image["file_name"]).is_file()
            scene = written[int(image["id"].rpartition("_")[2])]
            assert said["caption"] == scene.caption.text
            assert said["labels"] == [scene.caption.phrase(span) for span in scene.caption.spans]
            for mask, span in zip(own[image["id"]], scene.caption.spans, strict=True):
                assert np.array_equal(mask, np.any([scene.objects[index].mask for index in span.objects], axis=0))
        described[split] = set(own)
    assert not described["val"] & described["test"]


def test_llava_and_texts(files, written):
    records = load(files.llava_train)
    assert len({record["id"] for record in records}) == len(records)
    assert 1 <= sum("image" not in record for record in records) <= 2
    said = set(files.texts())
    assert "Describe the image." in said
    for record in records:
        turns = record["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n") == ("image" in record)
        assert sum("<image>" in turn["value"] for turn in turns) == ("image" in record)
        assert {turn["value"].removeprefix("<image>\n") for turn in turns} <= said
        if "image" in record:
            assert (files.images / record["image"]).is_file()
    assert {s["sent"] for ref in load_refs(files) for s in ref["sentences"]} <= said
    assert {scene.caption.text for image, scene in written.items() if image < 10_000_000} <= said
    words = {word for ref in load_refs(files) for s in ref["sentences"] for word in s["tokens"]}
    assert len(words) < 60
    assert isinstance(files, SceneFiles) and files.root / "images" == files.images


def test_reasonseg_asks_for_one_object(files, written):
    """The reader's masks are those of the scene, by the questions' meaning."""
    kinds, ignored = set(), 0
    for split, own in (("train", ["train"]), ("val", ["val"]), ("test", ["testA", "testB"])):
        data = ReasonSegDataset(str(files.reason_seg), split)
        known = {
            file_name_of(image_id_of(part, i)): written[image_id_of(part, i)]
            for part in own
            for i in range(NUM_TRAIN if part == "train" else NUM_EVAL)
        }
        assert len(data) > 0.8 * len(known)
        for index in range(len(data)):
            record = data.get_record(index, None)
            scene = known[Path(record.image_path).name]
            sentence = json.loads(Path(record.image_path).with_suffix(".json").read_text())["text"][0]
            words = sentence.removeprefix("Which object is ").removesuffix("?").removeprefix("the ")
            [thing] = [scene.objects[i] for i, own in enumerate(scene.sentences) if words in [s.text for s in own]]
            [region] = record.regions
            height, width = scene.image.shape[:2]
            target = decode_union(region.segmentations, height, width)
            hidden = decode_union(region.ignored, height, width)
            assert np.array_equal(target, thing.mask)
            assert not hidden.any() or any(np.array_equal(hidden, other.mask) for other in scene.objects)
            ignored += hidden.any()
            kinds.add((split, record.source.rsplit("/", 1)[1]))
    assert kinds == {(split, kind) for split in ("train", "val", "test") for kind in ("short", "long")}
    assert ignored > 10
