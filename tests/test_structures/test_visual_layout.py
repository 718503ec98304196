from itertools import groupby

import pytest

from lira_plugin.structures import TokenKind, VisualLayout


def runs(kinds):
    return [(kind, len(list(rows))) for kind, rows in groupby(kinds)]


def test_the_published_block():
    block = VisualLayout().block(7)
    assert len(block) == 7 * 256 + 258 + 300, "256 T + 258 + K rows"
    assert runs(block) == [
        (TokenKind.SEMANTIC, 1792),
        (TokenKind.SEMANTIC_SEPARATOR, 1),
        (TokenKind.PIXEL, 256),
        (TokenKind.PIXEL_SEPARATOR, 1),
        (TokenKind.OBJECT, 300),
    ]


@pytest.mark.parametrize("tiles", [1, 5, 13])
def test_only_semantic_rows_grow_with_the_tiles(tiles):
    layout = VisualLayout(tokens_per_tile=4, pixel_tokens=9, object_tokens=3)
    assert runs(layout.block(tiles))[0] == (TokenKind.SEMANTIC, 4 * tiles)
    assert layout.block(tiles)[4 * tiles :] == layout.block(1)[4:]


@pytest.mark.parametrize("tiles", [1, 7])
def test_without_sefe_semantic_rows_are_left_out_and_their_separator_stays(tiles):
    block = VisualLayout(tokens_per_tile=4, pixel_tokens=9, object_tokens=3, semantic=False).block(tiles)
    assert runs(block) == [
        (TokenKind.SEMANTIC_SEPARATOR, 1),
        (TokenKind.PIXEL, 9),
        (TokenKind.PIXEL_SEPARATOR, 1),
        (TokenKind.OBJECT, 3),
    ]


@pytest.mark.parametrize("semantic", [True, False])
def test_a_view_is_one_tile(semantic):
    assert VisualLayout(tokens_per_tile=4, semantic=semantic).view == [TokenKind.VIEW] * 4


def test_a_layout_holds_what_it_names():
    """Semantic tokens alone: no pixel or object position, and nothing to separate."""
    assert VisualLayout(tokens_per_tile=4).block(2) == [TokenKind.SEMANTIC] * 8
    assert VisualLayout(tokens_per_tile=4) == VisualLayout(tokens_per_tile=4, pixel_tokens=0, object_tokens=0)
    assert VisualLayout() == VisualLayout(256, 256, 300), "the published counts, where none is given"
    assert VisualLayout(semantic=False) == VisualLayout(256, 256, 300, semantic=False)
    assert VisualLayout(pixel_tokens=9).tokens_per_tile == 256


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"pixel_tokens": 3}, ["SEMANTIC", "SEMANTIC_SEPARATOR", "PIXEL"]),
        ({"object_tokens": 3}, ["SEMANTIC", "SEMANTIC_SEPARATOR", "OBJECT"]),
        ({"pixel_tokens": 3, "semantic": False}, ["SEMANTIC_SEPARATOR", "PIXEL"]),
        ({"object_tokens": 3, "pixel_tokens": 0}, ["SEMANTIC", "SEMANTIC_SEPARATOR", "OBJECT"]),
        ({"semantic": False}, []),
    ],
)
def test_a_separator_stands_between_two_kinds(counts, expected):
    assert [kind.name for kind, _ in runs(VisualLayout(tokens_per_tile=2, **counts).block(2))] == expected


@pytest.mark.parametrize("name", ["tokens_per_tile", "pixel_tokens", "object_tokens"])
def test_a_negative_count_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} of a visual layout must not be negative, got -1"):
        VisualLayout(**{name: -1})
