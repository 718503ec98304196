"""Frozen features on disk: the same losses, fewer encodings, and entries that cannot be mistaken for others."""

import logging
import os
import shutil
from pathlib import Path
from zlib import crc32

import pytest
import torch
from mmengine.logging import MMLogger
from safetensors.torch import load, save
from support.processes import on_two_processes
from support.tiny_model import (
    TILE,
    make_batch,
    random_images,
    refer_record,
    semantic_encoder_config,
    text_record,
    tiny_lira,
    tiny_semantic_encoder,
)

from lira_plugin.models.semantic_encoder.feature_cache import FeatureCache, _entry
from lira_plugin.models.semantic_encoder.qwen2_vl import Qwen2VLEncoder
from lira_plugin.models.trainable import freeze

FROZEN = {"all": ("pixel_encoder", "semantic_encoder"), "vit": ("pixel_encoder", "semantic_encoder.vit")}
NO_VIEWS = torch.zeros(0, 3, TILE, TILE, dtype=torch.uint8)


def frozen_encoder(seed=0):
    torch.manual_seed(seed)
    encoder = tiny_semantic_encoder()
    freeze(encoder)
    return encoder


def entries(root):
    return sorted(path for path in Path(root).rglob("*") if path.is_file())


def count_tiles(encoder, counts):
    """Note how many tiles the transformer is given each time."""
    encoder.vit.patch_embed.register_forward_pre_hook(lambda module, args: counts.append(len(args[0])))


@pytest.fixture
def warnings(monkeypatch):
    """What is logged as a warning."""
    found = []
    logger = MMLogger.get_current_instance()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def with_cache(root):
    """The tiny LIRA's encoder, as a recipe gives it a cache."""
    return {**semantic_encoder_config(), "feature_cache": {"root": root}}


@pytest.mark.parametrize("frozen", FROZEN)
def test_losses_and_gradients_are_those_without_a_cache_and_the_second_epoch_encodes_views_alone(tmp_path, frozen):
    records = [refer_record(tmp_path, "a", ["cup", "dog"]), refer_record(tmp_path, "b", ["hat"], 30, 64)]
    batch = make_batch(records, max_tiles=3)
    tiles, views = len(batch["batch"].tiles), len(batch["batch"].view_tiles)
    assert tiles > 2 and views == 3
    plain = tiny_lira(frozen=FROZEN[frozen]).train()
    cached = tiny_lira(frozen=FROZEN[frozen], semantic_encoder=with_cache(tmp_path / "cache")).train()
    cached.load_state_dict(plain.state_dict())
    counts = []
    count_tiles(cached.semantic_encoder, counts)

    def step(model):
        torch.manual_seed(5)  # the mask losses draw points
        model.zero_grad()
        losses = model(**batch, mode="loss")
        model.parse_losses(losses)[0].backward()
        return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected, gradients = step(plain)
    first, first_gradients = step(cached)
    second, second_gradients = step(cached)
    assert counts == [tiles + views, views]
    for losses, found in ((first, first_gradients), (second, second_gradients)):
        assert all(torch.equal(losses[name], expected[name]) for name in expected)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient)
    assert any(name.startswith("semantic_encoder.projector") for name in gradients) is (frozen == "vit")
    assert not any("cache" in name for name in cached.state_dict())


def test_without_views_a_batch_that_was_met_is_not_encoded(tmp_path):
    records = [refer_record(tmp_path, "a", ["cup"]), text_record("t")]
    batch = make_batch(records, prob=0.0)
    assert not len(batch["batch"].view_tiles)
    model = tiny_lira(frozen=FROZEN["all"], semantic_encoder=with_cache(tmp_path / "cache")).train()
    counts = []
    count_tiles(model.semantic_encoder, counts)
    text = make_batch(records[1:])
    for arguments in (batch, batch, text, text):
        model(**arguments, mode="loss")
    assert counts == [len(batch["batch"].tiles), 1], "a batch of text has one blank tile"
    model.eval()(**batch, mode="tensor")
    assert len(counts) == 3, "evaluation meets every image once and keeps nothing"
    assert len(entries(tmp_path / "cache")) == len(batch["batch"].tiles) + 1


def test_each_new_tile_gives_an_entry_and_is_encoded_once(tmp_path):
    encoder, counts = frozen_encoder(), []
    count_tiles(encoder, counts)
    cache, tiles = FeatureCache(encoder, tmp_path), random_images(4, TILE)
    cache(tiles[:2], tiles[3:])
    changed = tiles[:3].clone()
    changed[0, 0, 0, 0] ^= 1
    found = cache(changed, NO_VIEWS)
    assert counts == [3, 2], "the second of three was met"
    assert len(entries(tmp_path)) == 4
    torch.testing.assert_close(found, encoder(changed))


def test_other_weights_and_settings_have_entries_of_their_own(tmp_path):
    tiles = random_images(2, TILE)
    encoder = frozen_encoder()
    cache = FeatureCache(encoder, tmp_path)
    old = cache(tiles, NO_VIEWS)
    assert torch.equal(FeatureCache(frozen_encoder(), tmp_path)(tiles, NO_VIEWS), old)
    assert len(entries(tmp_path)) == 2, "the same weights, as in a later training"
    encoder.load_state_dict(frozen_encoder(1).state_dict())
    torch.testing.assert_close(cache(tiles, NO_VIEWS), encoder(tiles))
    assert len(entries(tmp_path)) == 4, "loaded after the first use"
    encoder.vit.norm.eps = 0.1
    FeatureCache(encoder, tmp_path)(tiles, NO_VIEWS)
    assert len(entries(tmp_path)) == 6, "what no weight shows"
    with torch.autocast("cpu", torch.bfloat16):
        assert cache(tiles, NO_VIEWS).dtype == cache(tiles, NO_VIEWS).dtype == encoder(tiles).dtype
    FeatureCache(encoder, tmp_path, dtype="bfloat16")(tiles, NO_VIEWS)
    assert len({path.parents[1] for path in entries(tmp_path)}) == 5 and len(entries(tmp_path)) == 10


def test_a_trained_projection_is_no_part_of_the_key(tmp_path):
    encoder, tiles = tiny_semantic_encoder().eval(), random_images(2, TILE)
    freeze(encoder.vit)
    cache = FeatureCache(encoder, tmp_path)
    cache(tiles, NO_VIEWS)
    with torch.no_grad():
        encoder.projector[1].weight.mul_(2)
    found = cache(tiles, NO_VIEWS)
    assert len(entries(tmp_path)) == 2 and found.requires_grad
    torch.testing.assert_close(found, encoder(tiles))


def test_sixteen_bits_are_half_as_large_and_used_from_the_first_time(tmp_path):
    encoder, tiles = frozen_encoder(), random_images(2, TILE)
    cache = FeatureCache(encoder, tmp_path, dtype="bfloat16")
    first, second = cache(tiles, NO_VIEWS), cache(tiles, NO_VIEWS)
    assert torch.equal(first, encoder(tiles).bfloat16().float()) and torch.equal(second, first)
    assert second.dtype == torch.float32
    numbers = first[0].numel()
    assert all(2 * numbers < path.stat().st_size < 2 * numbers + 300 for path in entries(tmp_path))


@pytest.mark.parametrize("damage", ["cut off", "empty", "a bit", "zeros", "another file"])
def test_a_damaged_entry_is_named_and_computed_again(tmp_path, warnings, damage):
    encoder, tiles = frozen_encoder(), random_images(1, TILE)
    cache = FeatureCache(encoder, tmp_path)
    expected = cache(tiles, NO_VIEWS)
    (path,) = entries(tmp_path)
    content = path.read_bytes()
    flipped = bytes([content[-1] ^ 1])
    path.write_bytes(
        {
            "cut off": content[:-5],
            "empty": b"",
            "a bit": content[:-1] + flipped,
            "zeros": bytes(len(content)),
            "another file": b"not an entry",
        }[damage]
    )
    assert torch.equal(cache(tiles, NO_VIEWS), expected)
    assert len(warnings) == 1 and str(path) in warnings[0]
    assert path.stat().st_size == len(content)
    assert torch.equal(cache(tiles, NO_VIEWS), expected) and len(warnings) == 1


def forged(features, **about):
    """An entry that has another form, with the checksum that its own bytes have."""
    return save({"features": features}, metadata={"crc32": str(crc32(features.numpy().tobytes())), **about})


def replace_by(path, kind):
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link in a circle":
        path.symlink_to(path)
    elif kind == "header cut off":
        path.write_bytes(content[:20])
    elif kind == "header of 2**60 bytes":
        path.write_bytes((2**60).to_bytes(8, "little") + content[8:])
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        kept = load(content)["features"]
        path.write_bytes(
            {
                "other name": save({"x": kept}),
                "no metadata": save({"features": kept}),
                "no type": forged(kept),
                "type that is none": forged(kept, dtype="save"),
                "type of integers": forged(kept, dtype="int8"),
                "integers": forged(kept.to(torch.int32), dtype="float32"),
                "other shape": forged(kept[:1], dtype="float32"),
                "flat": forged(kept.flatten(), dtype="float32"),
                "no numbers": forged(kept[:0], dtype="float32"),
            }[kind]
        )


KINDS = [
    *(
        "folder",
        "pipe",
        "device",
        "link in a circle",
        "header cut off",
        "header of 2**60 bytes",
        "sparse",
        "other name",
    ),
    *(
        "no metadata",
        "no type",
        "type that is none",
        "type of integers",
        "integers",
        "other shape",
        "flat",
        "no numbers",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("same_process", [True, False])
def test_what_others_put_in_place_of_an_entry_is_encoded_anew(tmp_path, warnings, kind, same_process):
    encoder, tiles = frozen_encoder(), random_images(2, TILE)
    cache = FeatureCache(encoder, tmp_path)
    expected = cache(tiles, NO_VIEWS)
    for path in entries(tmp_path):
        replace_by(path, kind)
    if not same_process:
        cache = FeatureCache(encoder, tmp_path)
    for _ in range(3):
        assert torch.equal(cache(tiles, NO_VIEWS), expected)
    assert len(warnings) == 1 and str(tmp_path) in warnings[0], "both entries and all epochs together"


@pytest.mark.parametrize("first", [0, 1])
def test_an_entry_of_another_shape_with_a_right_checksum_is_encoded_anew(tmp_path, warnings, first):
    encoder, tiles = frozen_encoder(), random_images(3, TILE)
    expected = FeatureCache(encoder, tmp_path)(tiles, NO_VIEWS)
    path = entries(tmp_path)[first]
    kept = load(path.read_bytes())["features"]
    path.write_bytes(_entry(kept[1:].contiguous(), torch.float32))
    assert torch.equal(FeatureCache(encoder, tmp_path)(tiles, NO_VIEWS), expected)
    assert len(warnings) == 1 and "shape" in warnings[0]


def test_when_a_view_tells_the_shape_too_late(tmp_path, warnings):
    encoder, tiles = frozen_encoder(), random_images(2, TILE)
    expected = FeatureCache(encoder, tmp_path)(tiles[:1], tiles[1:])
    (path,) = entries(tmp_path)
    path.write_bytes(_entry(load(path.read_bytes())["features"][1:].contiguous(), torch.float32))
    assert torch.equal(FeatureCache(encoder, tmp_path)(tiles[:1], tiles[1:]), expected)
    assert torch.equal(FeatureCache(encoder, tmp_path)(tiles[:1], NO_VIEWS), expected[:1]) and len(warnings) == 1


def test_entries_and_folders_that_others_delete_are_made_again(tmp_path, warnings):
    encoder, tiles = frozen_encoder(), random_images(2, TILE)
    cache = FeatureCache(encoder, tmp_path / "cache", max_gb=1)
    expected = cache(tiles, NO_VIEWS)
    entries(tmp_path)[0].unlink()
    assert torch.equal(cache(tiles, NO_VIEWS), expected)
    shutil.rmtree(tmp_path / "cache")
    assert torch.equal(cache(tiles, NO_VIEWS), expected)
    assert len(entries(tmp_path)) == 2 and not warnings


@pytest.mark.parametrize("below", ["root", "parent", "weights", "key"])
def test_a_file_in_place_of_a_folder_is_no_error(tmp_path, warnings, below):
    encoder, tiles = frozen_encoder(), random_images(1, TILE)
    root = tmp_path / "parent" / "root"
    expected = FeatureCache(encoder, root)(tiles, NO_VIEWS)
    (path,) = entries(tmp_path)
    folder = {"root": root, "parent": root.parent, "weights": path.parents[1], "key": path.parent}[below]
    shutil.rmtree(folder)
    folder.write_text("in the way")
    cache = FeatureCache(encoder, root)
    for _ in range(3):
        assert torch.equal(cache(tiles, NO_VIEWS), expected)
    assert len(warnings) == 1 and str(root) in warnings[0]


@pytest.mark.parametrize("denied", ["open", "replace", "mkdir"])
def test_what_may_not_be_read_or_written_is_no_error(tmp_path, warnings, monkeypatch, denied):
    encoder, tiles = frozen_encoder(), random_images(1, TILE)
    expected = FeatureCache(encoder, tmp_path / "cache")(tiles, NO_VIEWS)

    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    root = tmp_path / ("cache" if denied == "open" else "new")
    monkeypatch.setattr(os, denied, deny)
    cache = FeatureCache(encoder, root)
    for _ in range(3):
        assert torch.equal(cache(tiles, NO_VIEWS), expected)
    assert len(warnings) == 1 and "denied" in warnings[0] and str(root) in warnings[0]


def test_a_full_cache_stops_growing_and_goes_on_giving(tmp_path, warnings):
    encoder, tiles = frozen_encoder(), random_images(5, TILE)
    FeatureCache(encoder, tmp_path)(tiles[:1], NO_VIEWS)
    (size,) = (path.stat().st_size for path in entries(tmp_path))
    cache = FeatureCache(encoder, tmp_path, max_gb=3.5 * size / 1e9)
    for _ in range(2):
        torch.testing.assert_close(cache(tiles, NO_VIEWS), encoder(tiles))
    assert len(entries(tmp_path)) == 3, "the one of before counts"
    assert len(warnings) == 1 and "max_gb" in warnings[0] and str(tmp_path) in warnings[0]


def test_a_disk_that_takes_no_more_does_not_end_the_training(tmp_path, warnings, monkeypatch):
    encoder, tiles = frozen_encoder(), random_images(2, TILE)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    torch.testing.assert_close(FeatureCache(encoder, tmp_path)(tiles, NO_VIEWS), encoder(tiles))
    assert len(warnings) == 1 and "No space left" in warnings[0]
    assert not entries(tmp_path), "no leftovers"


def fill(rank, encoder, tiles, root):
    cache = FeatureCache(encoder, root, max_gb=1)
    torch.distributed.barrier()
    return [cache(tiles, NO_VIEWS).tolist() for _ in range(3)]


def test_two_processes_write_the_same_entries_at_once(tmp_path, warnings):
    encoder, tiles = frozen_encoder(), random_images(6, TILE)
    expected = encoder(tiles)
    for answers in on_two_processes(fill, encoder, tiles, tmp_path):
        assert all(torch.equal(torch.tensor(answer), expected) for answer in answers)
    assert len(entries(tmp_path)) == 6 and not warnings
    counts = []
    count_tiles(encoder, counts)
    assert torch.equal(FeatureCache(encoder, tmp_path)(tiles, NO_VIEWS), expected) and not counts


def test_the_vision_tower_of_qwen2_vl_is_kept_before_or_behind_its_merger(tmp_path):
    torch.manual_seed(0)
    vision = {"embed_dim": 16, "depth": 1, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
    encoder = Qwen2VLEncoder(hidden_size=8, tile_size=TILE, vision_args=vision).eval()
    tiles = random_images(3, TILE)
    for frozen in (("blocks", "patch_embed"), ("merger",)):
        for name in frozen:
            freeze(getattr(encoder.visual, name))
        cache = FeatureCache(encoder, tmp_path)
        for _ in range(2):
            torch.testing.assert_close(cache(tiles[:2], tiles[2:]), encoder(tiles))
    assert len(entries(tmp_path)) == 4


def test_an_encoder_that_is_trained_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"vit\.cls_token.*'semantic_encoder'.*frozen"):
        tiny_lira(frozen=["pixel_encoder"], semantic_encoder=with_cache(tmp_path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"dtype": "int8"}, "int8"), ({"dtype": "half-ish"}, "half-ish"), ({"max_gb": 0}, "max_gb")],
    ids=["integers", "unknown", "no size"],
)
def test_settings_are_checked(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        FeatureCache(frozen_encoder(), tmp_path, **settings)


def test_partitioned_weights_are_refused(tmp_path):
    encoder = frozen_encoder()
    next(encoder.parameters()).ds_id = 0  # how DeepSpeed marks them
    with pytest.raises(RuntimeError, match="ZeRO-3"):
        FeatureCache(encoder, tmp_path)(random_images(1, TILE), NO_VIEWS)
