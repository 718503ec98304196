import random
from collections import Counter

import pytest

from lira_plugin.prepare.sampling import draw_records, name_records


def record(name, text="A"):
    conversations = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": text}]
    return {"id": name, "image": f"{name}.jpg", "conversations": conversations}


RECORDS = [record(str(n)) for n in range(200)]


def drawn(records, wanted, seed=0, source="set"):
    sample = draw_records(records, wanted, seed, source)
    return list(name_records(sample, source, len(sample.lines)))


def test_the_draw_does_not_depend_on_the_order_of_the_file():
    shuffled = random.Random(0).sample(RECORDS, len(RECORDS))
    assert drawn(RECORDS, 50) == drawn(shuffled, 50) == drawn(RECORDS[::-1], 50)


def test_seeds_and_sets_draw_others_and_a_larger_draw_holds_the_smaller():
    first = {r["id"] for r in drawn(RECORDS, 50)}
    assert len(first) == 50 and first < {r["id"] for r in drawn(RECORDS, 80)}
    assert first != {r["id"] for r in drawn(RECORDS, 50, seed=1)}
    assert first != {r["id"].replace("other", "set") for r in drawn(RECORDS, 50, source="other")}


def test_every_record_is_drawn_equally_often():
    counts = Counter(r["id"] for seed in range(400) for r in drawn(RECORDS[:20], 5, seed=seed))
    assert len(counts) == 20 and max(abs(count - 100) for count in counts.values()) < 40  # 4.6 standard deviations


def test_records_keep_their_content_and_get_the_set_in_front_of_their_ids():
    assert sorted(drawn(RECORDS, 1000), key=lambda r: int(r["id"][4:])) == [
        {**r, "id": f"set/{r['id']}"} for r in RECORDS
    ]


def test_ids_become_unique_in_the_same_way_for_every_order():
    records = [record("a", "1"), record("a", "2"), record("a-2"), record("b"), record("a", "3")]
    named = drawn(records, 10)
    assert len({r["id"] for r in named}) == 5 and named == drawn(records[::-1], 10)
    assert {r["id"] for r in named if r["image"] == "a.jpg"} >= {"set/a"}


@pytest.mark.parametrize("wanted", [3, 10])
def test_a_record_that_is_there_twice_word_for_word_is_drawn_once(wanted):
    sample = draw_records([record("a"), record("b"), record("a"), record("c"), record("a")], wanted, 0, "set")
    assert (sample.found, sample.repeated, len(sample.lines)) == (5, 2, 3)


def test_too_few_records_begin_again_with_ids_of_their_own():
    sample = draw_records([record("a"), record("b")], 5, 0, "set")
    named = list(name_records(sample, "set", 5))
    assert len({r["id"] for r in named}) == 5
    assert Counter(r["image"] for r in named).most_common() in (
        [("a.jpg", 3), ("b.jpg", 2)],
        [("b.jpg", 3), ("a.jpg", 2)],
    )
    assert named[2]["id"] == f"{named[0]['id']}~2" and named[4]["id"] == f"{named[0]['id']}~3"


def test_nothing_to_draw_from():
    sample = draw_records([], 5, 0, "set")
    assert sample.found == 0 and list(name_records(sample, "set", 5)) == []
    assert draw_records(RECORDS, 0, 0, "set").lines == ()
