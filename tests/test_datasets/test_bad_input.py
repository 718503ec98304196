"""Bad input through a real data set and pipeline: each message says which record or file, and what to do."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lira_plugin.datasets import GCGDataset, LlavaDataset, ReferSegDataset
from lira_plugin.structures import encode_mask

HEIGHT, WIDTH = 24, 32
CAPTION = "A dog near a red car."
TEMPLATE = {"system": "", "instruction": "<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n"}


def tokenizer():
    """One token a byte, without the special tokens of this package."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: number for number, letter in enumerate(["<pad>", *alphabet])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.add_special_tokens(["<pad>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>")


def pipeline(max_length=500, use_tokenizer=None):
    tokenize = {"type": "TokenizeConversation", "tokenizer": use_tokenizer or tokenizer(), "max_length": max_length}
    layout = {"tokens_per_tile": 1, "pixel_tokens": 1, "object_tokens": 2}
    return [
        {"type": "LoadImage"},
        {"type": "DecodeRegions"},
        {"type": "LetterboxImage", "size": 16},
        {"type": "ILVC", "size": 8, "template": {**TEMPLATE, "suffix": "<|im_end|>"}},
        {"type": "TileImage", "size": 8, "max_tiles": 1},
        {**tokenize, "layout": layout},
        {"type": "PackGroundingInputs"},
    ]


def box(height=HEIGHT, width=WIDTH):
    mask = np.zeros((height, width), bool)
    mask[4:12, 5:20] = True
    return encode_mask(mask)


@dataclass
class World:
    """A folder with one image and one annotation file of each kind; a case spoils something."""

    root: Path
    groundings: dict = field(
        default_factory=lambda: {
            "A dog": {"token_positives": [0, 5], "rle_masks": [box()]},
            "a red car": {"token_positives": [11, 20], "rle_masks": [box()]},
        }
    )
    refs: list = field(default_factory=lambda: [{"sentence": "a dog", "bbox": [0, 0, 1, 1], "segmentation": box()}])
    answer: str = "Yes."
    sentence: str = "Red Car"
    settings: dict = field(default_factory=dict)
    split: str = "val"

    @property
    def image(self):
        return self.root / "a.png"

    def write(self, name, content):
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(json.dumps(content))
        return str(self.root / name)

    def grandf(self):
        entry = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "image_id": "g7", "caption": CAPTION}
        path = self.write("grandf.json", [{**entry, "groundings": self.groundings}])
        return GCGDataset(path, str(self.root), "grandf", pipeline(**self.settings))

    def refcocog(self):
        entry = {"img_file_name": "a.png", "caption": CAPTION, "refs": self.refs}
        path = self.write("refcocog.json", [{"c9": entry}])
        return GCGDataset(path, str(self.root), "refcocog", pipeline(**self.settings))

    def llava(self):
        messages = [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": self.answer}]
        path = self.write("llava.json", [{"id": "v3", "image": "a.png", "conversations": messages}])
        return LlavaDataset(path, str(self.root), pipeline(**self.settings))

    def refer(self):
        ref = {
            "ref_id": 5,
            "ann_id": 1,
            "image_id": 8,
            "split": "val",
            "sentences": [{"sent": self.sentence, "sent_id": 6}],
        }
        self.write("refcoco/refs(unc).json", [ref])
        image = {"id": 8, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
        annotation = {"id": 1, "image_id": 8, "category_id": 1, "segmentation": self.refs[0]["segmentation"]}
        self.write("refcoco/instances.json", {"images": [image], "annotations": [annotation], "categories": []})
        return ReferSegDataset(str(self.root), "refcoco", self.split, str(self.root), pipeline(**self.settings))


@pytest.fixture
def world(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    return World(tmp_path)


KINDS = ("grandf", "refcocog", "llava", "refer")


@pytest.mark.parametrize("kind", KINDS)
def test_good_input_goes_through(world, kind):
    sample = getattr(world, kind)()[0]
    regions = {"grandf": 2, "refcocog": 1, "llava": 0, "refer": 1}[kind]
    assert len(sample.masks) == len(sample.view_tiles) == regions and len(sample.seg_mask_index) == 2 * regions
    assert sample.dropped_regions == 0


def test_special_tokens_that_a_tokenizer_lacks_are_added(world):
    lacking = tokenizer()
    assert len(lacking("<seg>")["input_ids"]) > 1
    world.settings["use_tokenizer"] = lacking
    sample = world.grandf()[0]
    assert (sample.labels == lacking.convert_tokens_to_ids("<seg>")).sum() == 4


class Refuses(PreTrainedTokenizerFast):
    """Takes no new tokens, as one that is wrapped or frozen."""

    def add_tokens(self, new_tokens, special_tokens=False):
        return 0


def remove_image(world):
    world.image.unlink()


def cut_image(world):
    world.image.write_bytes(world.image.read_bytes()[:300])


def resize_image(world):
    Image.new("RGB", (WIDTH * 2, HEIGHT * 2)).save(world.image)


def enlarge_masks(world):
    world.groundings["A dog"]["rle_masks"] = [box(HEIGHT + 8, WIDTH + 8)]
    world.refs[0]["segmentation"] = box(HEIGHT + 8, WIDTH + 8)


def enlarge_polygons(world):
    polygon = [[2, 2, WIDTH + 8, 2, WIDTH + 8, HEIGHT + 8]]
    world.refs[0]["segmentation"] = polygon


def remove_regions(world):
    world.groundings = {}
    world.refs = []


def remove_masks(world):
    world.groundings["A dog"]["rle_masks"] = []


def misquote(world):
    world.refs[0]["sentence"] = "a cat"


def cross_spans(world):
    world.groundings["A dog"]["token_positives"] = [0, 15]


def leave_caption(world):
    world.groundings["a red car"]["token_positives"] = [11, 400]


def unknown_split(world):
    world.split = "testC"


def shorten(world):
    world.settings["max_length"] = 20


def freeze_tokenizer(world):
    world.settings["use_tokenizer"] = Refuses(tokenizer_object=tokenizer().backend_tokenizer, pad_token="<pad>")


def spell_seg(world):
    world.answer = "It is <seg>."
    world.sentence = "red <seg> car"


RECORDS = {"grandf": "record g7", "refcocog": "record c9", "llava": "record v3", "refer": "record 5-6"}
SKIP = "on_bad_record='skip'"

CASES = [
    *((remove_image, kind, FileNotFoundError, ["a.png", RECORDS[kind], "check image_root"]) for kind in KINDS),
    *((cut_image, kind, ValueError, ["a.png", RECORDS[kind], "fetch it again"]) for kind in KINDS),
    *(
        (resize_image, kind, ValueError, ["a.png", RECORDS[kind], "24x32", "48x64", "another release"])
        for kind in ("grandf", "refer")
    ),
    *(
        (enlarge_masks, kind, ValueError, ["a.png", RECORDS[kind], "32x40", "24x32", "do not belong together"])
        for kind in ("grandf", "refcocog", "refer")
    ),
    *(
        (enlarge_polygons, kind, ValueError, ["a.png", RECORDS[kind], f"{WIDTH} wide", "do not belong together"])
        for kind in ("refcocog", "refer")
    ),
    (remove_regions, "grandf", ValueError, ["grandf.json", "record g7", "no region", SKIP]),
    (remove_regions, "refcocog", ValueError, ["refcocog.json", "record c9", "no region", SKIP]),
    (remove_masks, "grandf", ValueError, ["grandf.json", "record g7", "no mask", "A dog", SKIP]),
    (misquote, "refcocog", ValueError, ["refcocog.json", "record c9", "'a cat'", "not in the caption", SKIP]),
    (cross_spans, "grandf", ValueError, ["grandf.json", "record g7", "cross", "[0, 15)", "[11, 20)", SKIP]),
    (leave_caption, "grandf", ValueError, ["grandf.json", "record g7", "leaves the caption", "[11, 400)", SKIP]),
    (unknown_split, "refer", ValueError, ["refs(unc).json", "'testC'", "its splits are ['val']"]),
    *((shorten, kind, ValueError, [RECORDS[kind], "max_length=20", "raise max_length"]) for kind in KINDS),
    (freeze_tokenizer, "grandf", ValueError, ["'<seg>'", "not in the vocabulary of the tokenizer", "add_to"]),
    # supervised without a mask of its own it would stop the training, with its whole batch
    *((spell_seg, kind, ValueError, [RECORDS[kind], "<seg>"]) for kind in ("llava", "refer")),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "error", "words"), CASES, ids=[f"{spoil.__name__}-{kind}" for spoil, kind, *_ in CASES]
)
def test_the_message_says_where_and_what_to_do(world, spoil, kind, error, words):
    spoil(world)
    with pytest.raises(error) as caught:
        getattr(world, kind)()[0]
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("spoil", [remove_regions, remove_masks, cross_spans, leave_caption])
def test_the_way_out_works(world, spoil):
    """Records that contradict their layout can be skipped, and where none is left that is said."""
    good = {"a dog": {"token_positives": [0, 5], "rle_masks": [box()]}}
    entry = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "caption": CAPTION}
    spoil(world)
    entries = [{**entry, "image_id": "bad", "groundings": world.groundings}]
    arguments = (str(world.root), "grandf", pipeline())
    with pytest.raises(ValueError, match=r"bad\.json holds no record that can be used; left out: \{.*1"):
        GCGDataset(world.write("bad.json", entries), *arguments, on_bad_record="skip")
    entries.append({**entry, "image_id": "good", "groundings": good})
    data = GCGDataset(world.write("mixed.json", entries), *arguments, on_bad_record="skip")
    assert len(data) == 1 and data[0].record_id == "good"
