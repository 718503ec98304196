"""The benchmarks run, and what they compare is the same."""

import importlib.util
from pathlib import Path

import pytest
from process_state import process_state_restored
from tqdm import tqdm

from lira_plugin.datasets.scene_files import write_scenes
from lira_plugin.datasets.scene_tokenizer import write_scene_tokenizer

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the benchmark reads the memory from Linux's /proc"
)
def test_generation_gives_the_answers_of_the_loop(tmp_path, monkeypatch):
    write_scene_tokenizer(write_scenes(tmp_path / "data", 12, 2, progress=False))
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    benchmark = load("generation")
    monkeypatch.setattr(benchmark, "NEW_TOKENS", {"RefSeg": 8, "GCG": 12})
    with process_state_restored():
        benchmark.init_default_scope("lira_plugin")
        tasks = benchmark.make_tasks(tmp_path, 1)
        assert [(task.name, len(task.samples)) for task in tasks] == [("RefSeg", 8), ("GCG", 4)]
        rows = list(benchmark.compare("tiny", tasks, [3], 1, tqdm(disable=True)))
    variants = [("loop", 1), ("ours", 3), ("ours without ILVC", 16), ("ours without SEFE", 16)]
    assert [(row.variant, row.batch) for row in rows] == 2 * variants
    for row in rows:
        assert row.tokens_per_s > 0 and row.peak_rss_mb > 0
        if row.variant in ("loop", "ours"):
            assert row.equal_answers == 1
    assert len(benchmark.table(rows).splitlines()) == 2 + len(rows)
