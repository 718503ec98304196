"""The benchmarks run, and what they compare is the same."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from process_state import process_state_restored
from tqdm import tqdm

from lira_plugin.datasets.scene_files import write_scenes
from lira_plugin.datasets.scene_tokenizer import write_scene_tokenizer
from lira_plugin.quickstart import format_summary

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the benchmark reads the memory from Linux's /proc"
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
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
    rows = [benchmark.Row(**row) for row in json.loads(path.read_text())["rows"]]
    without = [f"ours without {part}" for part in ("guesses", "ILVC", "SEFE")]
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
        if row.variant in ("loop", "ours", "ours without guesses"):
            assert row.equal_answers == 1
    assert len(benchmark.table(rows).splitlines()) == 2 + len(rows)


@needs_proc
def test_a_training_step_is_divided_among_its_parts(tmp_path, monkeypatch):
    write_scene_tokenizer(write_scenes(tmp_path / "data", 12, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    benchmark = load("train_step")
    with process_state_restored():
        benchmark.init_default_scope("lira_plugin")
        device = benchmark.torch.device("cpu")
        trainees = {
            name: benchmark.Trainee(benchmark.CONFIG, *variant, batch=2, device=device)
            for name, variant in benchmark.VARIANTS.items()
        }
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


def test_the_clock_counts_a_part_inside_of_another_once(monkeypatch):
    benchmark = load("train_step")
    times = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(times))
    clock = benchmark.Clock(benchmark.torch.device("cpu"))
    with clock.of("outer"), clock.of("inner"):
        pass
    assert clock.seconds == {"outer": 1.0 + 4.0, "inner": 2.0}


def test_the_tables_are_those_of_the_measurements():
    """Every line that a benchmark would print for its committed JSON stands in its guide."""
    tiny, generation, train_step = (load(name) for name in ("tiny", "generation", "train_step"))
    tables = {
        "tiny": [tiny.table(read("tiny")["runs"])],
        "generation": [
            generation.table([generation.Row(**row) for row in read(f"generation_{llm}")["rows"]])
            for llm in ("tiny", "134M")
        ],
        "train_step": [train_step.table([train_step.Row(**row) for row in read("train_step")["rows"]])],
    }
    for name, printed in tables.items():
        guide = (BENCHMARKS / f"{name}.md").read_text()
        assert all(table in guide for table in printed), name


def test_the_readme_shows_the_first_of_the_runs():
    assert format_summary(read("tiny")["runs"][0]) in (BENCHMARKS.parent / "README.md").read_text()
