"""The benchmarks run, and what they compare is the same."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT, config_path
from support.process_state import process_state_restored
from tqdm import tqdm
from transformers import AutoModelForCausalLM, LlamaConfig

from lira_plugin.quickstart import format_summary
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.structures import GroundedSpan, GroundedText, decode_union

BENCHMARKS = ROOT / "benchmarks"
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the benchmark reads the memory from Linux's /proc"
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])  # where it finds its neighbours, as when it is run
        spec.loader.exec_module(module)
    return module


def read(name):
    return json.loads((BENCHMARKS / f"{name}.json").read_text())


@needs_proc
def test_generation_gives_the_answers_of_the_loop(tmp_path, monkeypatch):
    benchmark, path = load("generation"), tmp_path / "generation.json"
    monkeypatch.setattr(benchmark, "NEW_TOKENS", {"RefSeg": 8, "GCG": 12})
    monkeypatch.setattr(sys, "argv", f"generation.py --images 1 --rounds 1 --llms tiny --json {path}".split())
    monkeypatch.setenv("LIRA_TINY_ROOT", "")  # put back what the benchmark sets
    with process_state_restored():
        benchmark.main()
    rows = [benchmark.Result(**row) for row in json.loads(path.read_text())["rows"]]
    without = ["ours with prompt lookup", "ours without ILVC", "ours without SEFE"]
    expected = [
        (task, variant, batch)  # no more than there are prompts
        for task, batches in {"RefSeg": (1, 4, 8), "GCG": (1, 4)}.items()
        for variant, batch in [
            ("loop", 1),
            *(("ours", batch) for batch in batches),
            *((variant, batches[-1]) for variant in without),
        ]
    ]
    assert [(row.task, row.variant, row.batch) for row in rows] == expected
    for row in rows:
        assert row.tokens_per_s > 0 and row.peak_rss_mb > 0
        if row.variant in ("loop", "ours", "ours with prompt lookup"):
            assert row.equal_answers == 1
            assert row.views_per_answer > 0.5, "the head of the random LLM has learnt to ask for views"
    assert len(benchmark.table(rows).splitlines()) == 2 + len(rows)


@needs_proc
def test_a_training_step_is_divided_among_its_parts(tmp_path, monkeypatch):
    write_scene_tokenizer(write_scenes(tmp_path / "data", 12, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    benchmark = load("train_step")
    with process_state_restored():
        benchmark.init_default_scope("lira_plugin")
        device = benchmark.torch.device("cpu")
        trainees = benchmark.build_trainees(benchmark.CONFIG, list(benchmark.VARIANTS), batch=2, device=device)
        weights = [p.clone() for p in trainees["LIRA"].model.sefe.parameters()]
        rows = benchmark.compare(trainees, steps=1, rounds=1, bar=tqdm(disable=True))
    assert [row.variant for row in rows] == list(benchmark.VARIANTS) and rows[0].relative == 1
    assert not all(map(benchmark.torch.equal, weights, trainees["LIRA"].model.sefe.parameters())), "it does train"
    assert trainees["without SEFE"].model.sefe.enrich is None
    assert trainees["gradient checkpointing"].model.llm.causal_lm.is_gradient_checkpointing
    for row in rows:
        assert row.seconds > 0 and row.samples_per_s > 0 and row.step_mib > 1
        assert row.relative_low <= row.relative <= row.relative_high
        assert set(row.shares) == set(benchmark.PARTS) and sum(row.shares.values()) == pytest.approx(1, abs=0.01)
        assert all(row.shares[part] > 0 for part in benchmark.PARTS)
    assert len(benchmark.table(rows).splitlines()) == 2 + len(rows)


@needs_proc
@pytest.mark.slow
def test_what_is_to_be_measured_on_a_gpu_runs_on_a_cpu(tmp_path, monkeypatch):
    """Part after part, and on from where a run was stopped. What is compiled is tested elsewhere."""
    benchmark, path, compiled = load("gpu"), tmp_path / "gpu.json", []
    monkeypatch.setattr(benchmark, "compile_parts", lambda model, backend: compiled.append(backend))
    monkeypatch.setenv("LIRA_TINY_ROOT", "")  # put back what the benchmark sets
    arguments = f"--tiny --device cpu --json {path}".split()

    def fail(plan):
        raise RuntimeError("out of memory")

    with process_state_restored():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(benchmark, "measure_training", lambda plan, variants: fail(plan))
            assert benchmark.main([*arguments, "--parts", "training", "decode compiled"]) == 1
        report = json.loads(path.read_text())
        assert report["done"] == ["decode compiled"] and report["failed"] == {"training": "RuntimeError: out of memory"}
        assert compiled == ["aot_eager"] and report["anchors"]
        monkeypatch.setattr(benchmark, "measure_decoding", fail)
        parts = ["decode compiled", "RefSeg without ILVC", "training"]
        assert benchmark.main([*arguments, "--parts", *parts]) == 0, "nothing is measured twice"
        assert benchmark.main([*arguments, "--minutes", "0"]) == 0, "no part begins too late"
    report = json.loads(path.read_text())
    rows = [benchmark.Result(**row) for row in report["rows"]]
    assert (
        not report["failed"]
        and set(report["done"]) == set(parts) < benchmark.parts_of(benchmark.tiny_plan("cpu")).keys()
    )
    assert [(row.part, row.variant, row.batch) for row in rows] == [
        *(("decode", "compiled", batch) for batch in (1, 2)),
        *(("training", variant, 2) for variant in ("LIRA", "without SEFE", "without ILVC")),
        ("RefSeg", "eager, without ILVC", 2),
    ]
    assert all(row.rate > 0 and row.memory_mib > 0 for row in rows)
    assert len(benchmark.table(rows).splitlines()) == 2 + len(rows)
    with pytest.raises(SystemExit, match="another plan"):
        benchmark.Report(path, benchmark.full_plan(benchmark.torch.device("cpu")))


@pytest.fixture
def flops(tmp_path, monkeypatch):
    """The benchmark, with scenes for it to read."""
    write_scene_tokenizer(write_scenes(tmp_path / "data", 12, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    with process_state_restored():
        benchmark = load("flops")
        benchmark.init_default_scope("lira_plugin")
        yield benchmark


def test_arithmetic_that_is_left_out_is_counted_all_the_same(flops):
    """With real products and weights, the counter finds the same, but for attention's backward pass and what masks decide.

    That of a CPU keeps no scores and computes them twice, which counts the more the longer the sequences are.
    """
    config = flops.read_recipe(config_path("lira_tiny"))
    config.model.llm.gradient_checkpointing = True
    counted = flops.count_steps(config, 2)
    for kind, counts in flops.count_steps(config, 2, real=True).items():
        assert set(counts) >= {*flops.PARTS, "rows"}
        assert counts == pytest.approx({**counted[kind], "backward": counts["backward"]}, rel=1e-2)
        assert 1 <= counts["backward"] / counted[kind]["backward"] < 1.07


def test_arithmetic_of_an_llm_is_what_the_formula_says(flops):
    """A layer's products: 2 per weight and row, and 4 per channel, row and row that is attended to."""
    llm = AutoModelForCausalLM.from_config(LlamaConfig(64, 32, 48, 3, 4, 2), attn_implementation="sdpa").eval()
    rows = 7
    with flops.ProductCounter() as counter, flops.torch.no_grad():
        logits = llm(inputs_embeds=flops.torch.ones(1, rows, 32)).logits
    assert not logits.any()
    weights = 3 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48) + 32 * 64
    angles = 2 * rows * 8 // 2  # of the rotary positions
    assert counter.total == 2 * rows * weights + 3 * 4 * rows * rows * 32 + angles


def test_the_mixture_is_that_of_the_paper(flops):
    kinds = {kind: Counter(LLM=100 * (number + 1)) for number, kind in enumerate(flops.KINDS)}
    (row, *others) = flops.results_of("lira_2b", {"LIRA": kinds})
    assert flops.mixture(kinds)["LLM"] == pytest.approx((168 * 100 + 206 * 200 + 411 * 300) / 785)
    assert row.kind == "mixture" and [other.kind for other in others] == list(flops.KINDS)


def test_variants_share_weights_of_equal_shape(tmp_path, monkeypatch):
    write_scene_tokenizer(write_scenes(tmp_path / "data", 4, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    with process_state_restored():
        benchmark = load("recipes_without_files")
        full, without = (benchmark.read_recipe(config_path(f"lira_tiny{end}")) for end in ("", "_no_sefe"))
        model = benchmark.build_model(full, benchmark.draw)
        other = benchmark.build_model(without, benchmark.draw, model)
    mine, shared = dict(model.named_parameters()), dict(other.named_parameters())
    assert shared.keys() < mine.keys() and all(mine[name] is parameter for name, parameter in shared.items())
    assert not any(parameter.is_meta for parameter in mine.values())


def test_a_part_inside_of_another_counts_once():
    totals = iter([0.0, 1.0, 3.0, 7.0])
    parts = load("part_totals").PartTotals(lambda: next(totals))
    with parts.of("outer"), parts.of("inner"):
        pass
    assert parts.counts == {"outer": 1.0 + 4.0, "inner": 2.0}


def test_the_gain_of_refined_masks_has_the_interval_of_images_drawn_anew():
    tiny, rng = load("tiny"), np.random.default_rng(1)
    rows = [
        {"image": f"{number // 3}.jpg", "refined_I": r, "refined_U": 100, "coarse_I": c, "coarse_U": 100}
        for number, (r, c) in enumerate(rng.integers(20, 90, (120, 2)).tolist())
    ]
    gain, low, high = tiny.refined_gain(rows)
    by_image = [rows[place : place + 3] for place in range(0, len(rows), 3)]

    def ciou(chosen, view):
        sums = [sum(row[f"{view}_{part}"] for image in chosen for row in image) for part in "IU"]
        return sums[0] / sums[1]

    def difference(chosen):
        return ciou(chosen, "refined") - ciou(chosen, "coarse")

    drawn = sorted(difference([by_image[i] for i in rng.integers(0, 40, 40)]) for _ in range(1000))
    assert gain == pytest.approx(difference(by_image), abs=1e-4)
    assert low == pytest.approx(drawn[25], abs=0.01) and high == pytest.approx(drawn[974], abs=0.01)
    assert tiny.refined_gain(rows) == [gain, low, high]


def box(top, left, bottom, right):
    mask = np.zeros((20, 20), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_phrase_is_true_of_all_that_its_mask_covers():
    captions = load("captions")
    star, ring = box(0, 0, 10, 10), box(10, 10, 20, 20)
    objects = [
        captions.Labelled(star, frozenset({"small", "red", "star"})),
        captions.Labelled(ring, frozenset({"large", "red", "ring"})),
    ]

    def true(phrase, mask):
        return captions.is_true(phrase, mask, objects)

    assert true("A small red star", star) and true("the star", star) and true("two red objects", star | ring)
    assert not true("A large red star", star) and not true("a red ring", star) and not true("a blue star", star)
    assert not true("two rings", star | ring) and true("two rings", ring)
    assert not true("it", star), "nothing is said"
    assert not true("a star", box(0, 0, 3, 3)), "less than half of the star"
    assert not true("a star", box(0, 0, 10, 10) | box(0, 10, 10, 20) | box(10, 0, 20, 9)), "mostly ground"
    scores = captions.CaptionScores()
    spans = [
        GroundedSpan(0, 1, "a red star", star, ring),
        GroundedSpan(0, 1, "a red ring", ring, ring),
        GroundedSpan(0, 1, "a red ring", ring),
    ]
    scores.add(spans, objects)
    assert scores == captions.CaptionScores(phrases=3, refined=3, coarse=2, repeated=2, objects=2, named=1)
    assert scores.shares() == {"refined": 1.0, "coarse": 0.6667, "repeated": 0.6667, "named": 0.5}


def test_captions_of_val_scenes_are_judged_by_their_own_objects(tmp_path):
    """A captioner that knows the scenes says nothing that is wrong of them."""
    captions, files = load("captions"), write_scenes(tmp_path / "data", 1, 12, progress=False)
    records = {record["file_name"]: record for record in json.loads(files.grandf_val.read_text())}

    def tell(images, question):
        for record in (records[Path(image).name] for image in images):
            spans = [
                GroundedSpan(0, 1, phrase, decode_union(grounding["rle_masks"], record["height"], record["width"]))
                for phrase, grounding in record["groundings"].items()
            ]
            yield GroundedText(text="", raw_text="", spans=tuple(spans), finished=True)

    scores = captions.judge_captions(tell, files)
    assert scores.phrases == scores.refined == scores.coarse >= 24 and not scores.repeated
    assert scores.phrases <= scores.named <= scores.objects


def test_samplers_of_deformable_attention_are_compared(tmp_path, monkeypatch):
    benchmark, path = load("deformable_attention"), tmp_path / "rows.json"
    case = benchmark.Case("small", 1, ((2, 2), (3, 4)), 2, 4)
    monkeypatch.setattr(benchmark, "CASES", (case,))
    monkeypatch.setattr(sys, "argv", f"deformable_attention.py --rounds 2 --device cpu --json {path}".split())
    benchmark.main()
    rows = [benchmark.Result(**row) for row in json.loads(path.read_text())["rows"]]
    assert [row.mode for row in rows] == ["training"] * 2 + ["inference"] * 2
    for mmcv, ours in zip(rows[::2], rows[1::2]):
        assert mmcv.against_mmcv == mmcv.least == mmcv.greatest == 1
        assert ours.milliseconds > 0 and ours.least <= ours.against_mmcv <= ours.greatest


def test_the_tables_are_those_of_the_measurements():
    """Every line that a benchmark would print for its committed JSON stands in its guide."""
    names = ("tiny", "generation", "train_step", "flops", "deformable_attention")
    tiny, generation, train_step, flops, deformable = map(load, names)
    tables = {
        "tiny": [tiny.table(read("tiny")["runs"])],
        "generation": [
            generation.table([generation.Result(**row) for row in read(f"generation_{llm}")["rows"]])
            for llm in ("tiny", "134M")
        ],
        "train_step": [
            benchmark.table([benchmark.Result(**row) for row in read(name)["rows"]])
            for name, benchmark in (("train_step", train_step), ("flops", flops))
        ],
        "deformable_attention": [
            deformable.table([deformable.Result(**row) for row in read("deformable_attention")["rows"]])
        ],
    }
    for name, printed in tables.items():
        guide = (BENCHMARKS / f"{name}.md").read_text().splitlines()
        missing = [line for table in printed for line in table.splitlines() if line not in guide]
        assert not missing, name


def test_the_guide_shows_the_summary_of_the_first_of_the_runs():
    assert format_summary(read("tiny")["runs"][0]) in (BENCHMARKS / "tiny.md").read_text()


def test_the_tables_of_attreval_are_those_of_its_files(monkeypatch, capsys):
    files = sorted(BENCHMARKS.glob("attreval_*.json"))
    monkeypatch.setattr(sys, "argv", ["attreval.py", *map(str, files)])
    load("attreval").main()
    written = (BENCHMARKS / "attreval.md").read_text().splitlines()
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(lines) == 2 * (2 + 6 * len(files)) and not set(lines) - set(written)
