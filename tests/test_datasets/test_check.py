"""Checking a data set before a training."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lira_plugin.datasets import GroundingDataset, LlavaDataset, MixtureDataset
from lira_plugin.datasets.check import _turns, check_dataset, check_questions
from lira_plugin.datasets.doctor import Reading, examine
from lira_plugin.datasets.findings import CUT, LEFT_OUT, UNUSABLE, Finding, group_line, grouped
from lira_plugin.structures import Conversation, FaultKind, GroundingSample, PhraseSpan, Record, Region, TokenKind, Turn


def sample_of(source: str, number: int) -> GroundingSample:
    """A sample of ``number`` text rows, one pixel row and ``number`` views and masks."""
    kinds = torch.tensor([TokenKind.TEXT] * number + [TokenKind.PIXEL])
    return GroundingSample(
        source=source,
        record_id=str(number),
        input_ids=torch.zeros(number + 1, dtype=torch.long),
        labels=torch.zeros(number + 1, dtype=torch.long),
        kinds=kinds,
        pixel_images=torch.zeros((1, 3, 2, 2), dtype=torch.uint8),
        tiles=torch.zeros((1, 3, 2, 2), dtype=torch.uint8),
        tile_counts=(1,),
        view_tiles=torch.zeros((number, 3, 2, 2), dtype=torch.uint8),
        masks=torch.zeros((number, 2, 2), dtype=torch.bool),
        mask_labels=torch.zeros(number, dtype=torch.long),
        seg_mask_index=torch.zeros(0, dtype=torch.long),
    )


class Numbers(GroundingDataset):
    """Record i gives a sample of i + 1 text positions; remembers what was read."""

    def __init__(self, source, count):
        self.count, self.read = count, []
        super().__init__(source, [self.sample])

    def __len__(self):
        return self.count

    def get_record(self, index, rng):
        return Record(self.source, str(index), None, Conversation((Turn("q", "a"),)))

    def sample(self, results):
        self.read.append(results["index"])
        return sample_of(self.source, results["index"] + 1)


def checks(dataset, **settings):
    return list(check_dataset(dataset, show_progress=False, **settings))


def test_what_is_counted():
    [check] = checks(Numbers("a/train", 5))
    assert (check.source, check.records, check.samples) == ("a/train", 5, 5)
    assert (check.text, check.max_text) == (sum(range(1, 6)), 5)
    assert (check.positions, check.max_positions) == (sum(range(2, 7)), 6)
    assert (check.views, check.masks) == (15, 15)
    assert check.findings == []


def test_each_part_of_a_mixture_is_read_once_whatever_its_repeats():
    first, second = Numbers("a/train", 3), Numbers("b/train", 2)
    found = checks(MixtureDataset([first, second], repeats=[4, 3]))
    assert [(check.source, check.samples) for check in found] == [("a/train", 3), ("b/train", 2)]
    assert first.read == [0, 1, 2] and second.read == [0, 1]


def test_some_records_several_times():
    dataset = Numbers("a/train", 7)
    [check] = checks(dataset, every=3, draws=2)
    assert dataset.read == [0, 0, 3, 3, 6, 6]
    assert (check.records, check.samples) == (7, 6)


def test_workers_count_the_same():
    assert checks(Numbers("a/train", 40), num_workers=2) == checks(Numbers("a/train", 40))


class Broken(Numbers):
    def sample(self, results):
        if results["index"] == 1:
            raise ValueError("b/train record 1: no image at x.jpg")
        if results["index"] == 2:
            raise KeyError("height")
        sample = super().sample(results)
        return replace(sample, dropped_regions=2) if results["index"] == 3 else sample


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_is_wrong_is_told_with_its_record_and_the_rest_is_read(num_workers):
    [check] = checks(Broken("b/train", 5), num_workers=num_workers)
    assert check.samples == 3
    assert check.findings == [
        Finding(FaultKind.UNUSABLE, "b/train", "1", "b/train record 1: no image at x.jpg", UNUSABLE),
        Finding(FaultKind.UNUSABLE, "b/train", "2", "b/train record 2: KeyError('height')", UNUSABLE),
        Finding(FaultKind.OVER_LONG, "b/train", "3", "b/train record 4: max_length leaves out 2 regions", CUT),
    ]


class Talks(GroundingDataset):
    """One record of four turns, each about a region; the pipeline refuses what a turn calls bad."""

    def __init__(self, phrases, masks):
        super().__init__("c/train", [self.sample])
        self.phrases, self.masks, self.read = phrases, masks, []

    def __len__(self):
        return 1

    def get_record(self, index, rng):
        turns = tuple(Turn("q", text, (PhraseSpan(0, len(text), n),)) for n, text in enumerate(self.phrases))
        regions = tuple(Region(text, (mask,)) for text, mask in zip(self.phrases, self.masks))
        return Record("c/train", "7", None, Conversation(turns), regions, size=(4, 5))

    def sample(self, results):
        for turn in results["record"].conversation.turns:
            self.read.append(turn.answer)
            if turn.answer.startswith("bad"):
                raise ValueError(f"cannot say {turn.answer!r}")
        return sample_of("c/train", 1)


def test_every_turn_and_every_mask_of_a_record_is_looked_at():
    sound, broken = {"size": [4, 5], "counts": [20]}, {"size": [4, 5], "counts": [21]}
    other = {"size": [5, 4], "counts": [20]}
    [check] = checks(Talks(["bad one", "a cat", "bad two", "a dog", "a cow"], [sound, broken, sound, other, sound]))
    messages = [finding.message for finding in check.findings]
    assert [message.split(":")[0] for message in messages] == ["c/train record 7"] * 4
    for message, said in zip(messages, ("'a cat'.*21 pixels", "'a dog'.*5x4 but.*4x5", "'bad one'", "'bad two'")):
        assert re.search(said, message)
    assert check.samples == 0


class Chatty(Talks):
    """As many records as turns, of which a draw takes one."""

    def get_record(self, index, rng):
        whole = super().get_record(index, rng)
        return next(_turns(replace(whole, conversation=Conversation(whole.conversation.turns[:1])), {}))

    def whole_records(self, index):
        yield from _turns(super().get_record(index, None), {})


def test_what_a_draw_does_not_take_is_read_too():
    mask = {"size": [4, 5], "counts": [20]}
    data = Chatty(["a", "b", "bad c"], [mask] * 3)
    assert data[0].record_id == "1"
    [check] = checks(data)
    assert [finding.message for finding in check.findings] == ["c/train record 7: cannot say 'bad c'"]
    assert check.samples == 2


def llava(folder, name, *texts):
    conversations = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]
    path = folder / name
    entries = [{"id": "first", "conversations": conversations}, {"id": "null", "conversations": None}, 3]
    path.write_text(json.dumps(entries))
    return {"type": LlavaDataset, "ann_file": str(path), "image_root": "", "source": name}


def test_a_fault_of_a_reader_ends_neither_its_file_nor_the_mixture(tmp_path):
    config = {
        "type": "MixtureDataset",
        "datasets": [
            llava(tmp_path, "a", "Q", "A") | {"repeats": 3},
            llava(tmp_path, "b", "Q"),
            {**llava(tmp_path, "c"), "ann_file": str(tmp_path / "none.json")},
            llava(tmp_path, "d", "Q", "A") | {"on_bad_record": "skip"},
        ],
        "pipeline": [lambda results: sample_of(results["record"].source, 1)],
    }
    examined = examine({"train_dataloader.dataset": config}, reading=Reading(show_progress=False))
    first, second, third, last = (check for _, check in examined)
    assert [part.setting[-10:] for part, _ in examined] == [f"datasets.{n}" for n in range(4)]
    assert [finding.record for finding in second.findings] == ["first", "null", "2"] and second.records == 0
    assert "none.json" in third.findings[0].message and third.findings[0].kind is FaultKind.UNREADABLE_FILE
    found = [(finding.kind, finding.record) for finding in first.findings]
    assert found == [(FaultKind.LAYOUT, "null"), (FaultKind.LAYOUT, "2")]
    assert {finding.effect for finding in first.findings} == {UNUSABLE}
    assert {finding.effect for finding in last.findings} == {LEFT_OUT} and len(last.findings) == 2
    assert "a: null: 'conversations' must be a list: got None" in first.findings[0].message
    assert first.samples == last.samples == 1


def test_equal_messages_are_one_line():
    findings = [
        Finding(FaultKind.UNUSABLE, "a", f"r{n}", f"a record r{n}: /data/{n}.jpg is {n}x{n + 1}, not '{n}'")
        for n in range(9)
    ]
    other = Finding(FaultKind.UNUSABLE, "a", "r9", "a record r9: something else")
    groups = grouped([*findings, other])
    assert [len(group) for group in groups] == [9, 1]
    assert group_line(groups[0]) == f"{findings[0].message} (and 8 more like it: r1, r2, r3, ...)"
    assert group_line(groups[1]) == other.message


def test_questions_are_checked_to_the_last_line(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    lines = [
        {"image": "a.png", "question": "?"},
        {"image": "cut.png", "question": "?"},
        {"image": "b.png", "question": "?"},
        {},
    ]
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    check = check_questions(path)
    assert (check.records, check.samples) == (2, 1)
    assert sorted(finding.record for finding in check.findings) == ["in line 2", "line 3", "line 4"]
    assert check_questions(tmp_path).findings[0].message.endswith("is a folder; give the path of a file")


def test_each_kind_of_loss_is_a_finding_with_its_record():
    class Lossy(Numbers):
        def sample(self, results):
            return replace(super().sample(results), dropped_regions=results["index"], empty_regions=2, cut_answers=1)

    [check] = checks(Lossy("b/train", 2))
    empty = "2 regions have no pixel in the letterboxed square and are not learnt"
    assert [(finding.effect, finding.message) for finding in check.findings] == [
        (CUT, f"b/train record 1: {empty}"),
        (CUT, "b/train record 1: max_length cuts 1 answers"),
        (CUT, "b/train record 2: max_length leaves out 1 regions"),
        (CUT, f"b/train record 2: {empty}"),
        (CUT, "b/train record 2: max_length cuts 1 answers"),
    ]


@pytest.mark.parametrize("settings", [{"draws": 0}, {"every": 0}])
def test_a_check_of_nothing_is_an_error(settings):
    with pytest.raises(ValueError, match="must be positive"):
        checks(Numbers("a/train", 2), **settings)


def test_draws_read_the_samples_of_a_training():
    """Sentences are drawn from (seed, draw, index), as :class:`GroundingDataset` does."""

    class Drawn(Numbers):
        def sample(self, results):
            return sample_of(self.source, int(results["rng"].integers(1, 50)))

    [check] = checks(Drawn("a/train", 4), draws=3)
    drawn = [
        int(np.random.default_rng((0, number, index)).integers(1, 50)) for index in range(4) for number in range(3)
    ]
    assert (check.text, check.max_text) == (sum(drawn), max(drawn))
