"""What the records of a mixture of the paper's size cost: time of a start, memory of a process and its workers, time of a record.

    python benchmarks/data.py --json benchmarks/data.json
    python benchmarks/data.py --before PATH     # the same of another checkout of this package first

Generated files hold 206 thousand captions with four masks, 411 thousand questions and 168 thousand images with sentences.
Each measurement is a process of its own. It also says how many samples a second one core makes of photographs. Linux only.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CAPTIONS, QUESTIONS, IMAGES = 206_000, 411_000, 168_000
"""Records of each kind, in the supplement's Table 1."""
WORKERS = 4
GPU = 10
"""Samples a second that a GPU takes."""
SIZE = (480, 640)
"""Height and width of the photographs."""
PICTURES = 50
WORDS = [
    "a",
    "small",
    "red",
    "car",
    "next",
    "to",
    "the",
    "old",
    "wooden",
    "table",
    "with",
    "two",
    "white",
    "cups",
    "and",
]


@dataclass
class Result:
    """One process: seconds, MiB and microseconds."""

    run: str
    start_s: float
    lengths_s: float | None
    memory_mib: float
    workers_pss_mib: float
    workers_private_mib: float
    record_median_us: float
    record_p99_us: float


@dataclass
class Throughput:
    """Samples a second that one core makes of records of one kind."""

    kind: str
    samples_s: float
    workers_a_gpu: float


def masks(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """RLEs of 500 to 1,500 characters: discs with a rough outline."""
    from lira_plugin.structures import encode_mask

    found, (height, width) = [], SIZE
    rows, columns = np.mgrid[:height, :width]
    while len(found) < count:
        x, y, radius = rng.integers(150, 490), rng.integers(150, 330), rng.integers(60, 140)
        rough = rng.normal(0, 4, (height, width)).cumsum(0) * 0.2
        rle = encode_mask(np.hypot(rows - y, columns - x) + rough < radius)
        if 500 <= len(rle["counts"]) <= 1500:
            found.append(rle)
    return found


def words(rng: np.random.Generator, count: int) -> str:
    """A text of so many words."""
    return " ".join(WORDS[index] for index in rng.integers(len(WORDS), size=count))


def write_list(path: Path, entries: Iterator[Any]) -> None:
    """Write a JSON list entry by entry."""
    with path.open("w", encoding="utf-8") as file:
        for index, entry in enumerate(entries):
            file.write(("," if index else "[") + json.dumps(entry))
        file.write("]")


def write_pictures(folder: Path) -> None:
    """Write photographs, so to speak."""
    import cv2
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(PICTURES):
        small = rng.integers(0, 255, (24, 32, 3), np.uint8)
        picture = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        Image.fromarray(picture).save(folder / f"{index}.jpg", quality=90)


def write_files(root: Path, captions: int, questions: int, images: int) -> None:
    """Write annotation files of so many records of each kind."""
    rng = np.random.default_rng(0)
    rles, size = masks(rng, 60), {"height": SIZE[0], "width": SIZE[1]}

    def caption(index: int) -> dict[str, Any]:
        parts = [words(rng, 3) + f" {part}" for part in range(4)]
        starts = np.cumsum([0, *(len(part) + 2 for part in parts)])
        groundings = {
            part: {
                "token_positives": [int(start), int(start) + len(part)],
                "rle_masks": [rles[rng.integers(len(rles))]],
            }
            for part, start in zip(parts, starts)
        }
        name = {"file_name": f"{index % PICTURES}.jpg", "image_id": str(index), **size}
        return {**name, "caption": ", ".join(parts), "groundings": groundings}

    def question(index: int) -> dict[str, Any]:
        texts = [f"<image>\n{words(rng, 10)}", words(rng, 30)]
        turns = [{"from": ("human", "gpt")[side], "value": text} for side, text in enumerate(texts)]
        return {"id": index, "image": f"{index % PICTURES}.jpg", "conversations": turns}

    def ref(index: int) -> dict[str, Any]:
        sentences = [{"sent": words(rng, 4), "sent_id": 3 * index + each} for each in range(3)]
        ids = {"ref_id": index, "ann_id": index, "image_id": index, "split": "train"}
        return {**ids, "category_id": 1, "sentences": sentences}

    def annotation(index: int) -> dict[str, Any]:
        angles = np.linspace(0, 2 * np.pi, 50)
        polygon = np.stack([320 + 90 * np.cos(angles), 240 + 70 * np.sin(angles)], 1).round(2).ravel().tolist()
        return {"id": index, "image_id": index, "category_id": 1, "iscrowd": 0, "segmentation": [polygon]}

    folder = root / "refcoco"
    folder.mkdir(parents=True)
    write_list(root / "captions.json", map(caption, range(captions)))
    write_list(root / "questions.json", map(question, range(questions)))
    write_list(folder / "refs(unc).json", map(ref, range(images)))
    instances = {
        "images": [{"id": index, "file_name": f"{index % PICTURES}.jpg", **size} for index in range(images)],
        "annotations": [annotation(index) for index in range(images)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances))


def steps(root: Path) -> list[Any]:
    """The pipeline of the full-size recipes, with the tokenizer of the scenes."""
    from transformers import AutoTokenizer

    from lira_plugin.datasets import (
        ILVC,
        DecodeRegions,
        LetterboxImage,
        LoadImage,
        PackGroundingInputs,
        TileImage,
        TokenizeConversation,
    )

    template = {"system": "", "instruction": "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"}
    tokenizer = AutoTokenizer.from_pretrained(root / "scenes/tokenizer")
    return [
        LoadImage(),
        DecodeRegions(),
        LetterboxImage(size=1024),
        ILVC(size=448, template=template | {"suffix": "<|im_end|>"}),
        TileImage(size=448, min_tiles=1, max_tiles=6),
        TokenizeConversation(tokenizer, {"tokens_per_tile": 256}, max_length=1024),
        PackGroundingInputs(),
    ]


def mixture(root: Path) -> Any:
    """The three data sets, built as a recipe does."""
    from lira_plugin.datasets import GCGDataset, LlavaDataset, MixtureDataset, ReferSegDataset

    images = {"image_root": str(root / "images")}
    entries = [
        {"type": GCGDataset, "ann_file": str(root / "captions.json"), "layout": "grandf", **images},
        {"type": LlavaDataset, "ann_file": str(root / "questions.json"), **images},
        {"type": ReferSegDataset, "data_root": str(root), "dataset": "refcoco", "split": "train", **images}
        | {"num_expressions": 3},
    ]
    return MixtureDataset(entries, pipeline=steps(root))


def memory(process: int) -> tuple[float, float]:
    """Proportional set size and private memory of a process in MiB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Pss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]


def measure(root: Path, run: str, count_lengths: bool) -> Result:
    """Build the mixture, count lengths, and let workers read all records in any order."""
    import torch  # noqa: F401  before the first look at the memory

    steps(root)
    before = memory(os.getpid())[0]
    start = time.perf_counter()
    data = mixture(root)
    built = time.perf_counter()
    resident = memory(os.getpid())[0] - before
    lengths_s = None
    if count_lengths:
        begin = time.perf_counter()
        data.modality_length  # noqa: B018
        lengths_s = round(time.perf_counter() - begin, 2)
    seconds, rng = [], np.random.default_rng(0)
    order = rng.permutation([(part, index) for part, child in enumerate(data.datasets) for index in range(len(child))])
    for part, index in order[:6000]:
        begin = time.perf_counter()
        data.datasets[part].get_record(index, rng)
        seconds.append(time.perf_counter() - begin)
    barrier = multiprocessing.Barrier(WORKERS + 1)

    def read(own: np.ndarray) -> None:
        for part, index in own:
            data.datasets[part].get_record(index, rng)
        barrier.wait()
        barrier.wait()

    workers = [multiprocessing.Process(target=read, args=(order[offset::WORKERS],)) for offset in range(WORKERS)]
    for worker in workers:
        worker.start()
    barrier.wait()
    sizes = [memory(worker.pid) for worker in workers]
    barrier.wait()
    for worker in workers:
        worker.join()
    median, highest = np.percentile(seconds, [50, 99]) * 1e6
    pss, private = (float(sum(each)) for each in zip(*sizes))
    found = (resident, pss, private, float(median), float(highest))
    return Result(run, round(built - start, 2), lengths_s, *(round(value, 2) for value in found))


def throughput(root: Path) -> list[Throughput]:
    """Samples a second on one core, from photographs of 640 x 480."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data, results, spent = mixture(root), [], 0.0
    for name, part, share in zip(("caption", "question", "referring"), range(3), (CAPTIONS, QUESTIONS, IMAGES)):
        indices = range(PICTURES * part, PICTURES * (part + 1))
        data[indices[0]]
        start = time.perf_counter()
        for index in indices:
            data[index]
        seconds = (time.perf_counter() - start) / len(indices)
        spent += seconds * share / (CAPTIONS + QUESTIONS + IMAGES)
        results.append(Throughput(name, round(1 / seconds, 2), round(GPU * seconds, 2)))
    return [*results, Throughput("mixture", round(1 / spent, 2), round(GPU * spent, 2))]


def measured(root: Path, task: str, package: Path, *options: str) -> list[dict[str, Any]]:
    """What a process of its own measures with a checkout of the package."""
    environment = os.environ | {"PYTHONPATH": str(package), "LIRA_CACHE": str(root / "cache")}
    command = [sys.executable, __file__, "--root", str(root), "--task", task, *options]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(answer.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--before", type=Path, help="another checkout of this package, measured first")
    parser.add_argument("--share", type=float, default=1.0, help="of the records, to try this out")
    parser.add_argument("--no-lengths", action="store_true", help="do not count lengths")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        from dataclasses import asdict

        root = arguments.root
        found = (
            throughput(root)
            if arguments.task == "throughput"
            else [measure(root, arguments.task, not arguments.no_lengths)]
        )
        print(json.dumps([asdict(each) for each in found]))
        return
    from report import write_report
    from tqdm import tqdm

    from lira_plugin.scenes.scene_files import write_scenes
    from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        root, loader = Path(folder, "annotations"), Path(folder, "photographs")
        counts = [int(count * arguments.share) for count in (CAPTIONS, QUESTIONS, IMAGES)]
        for each in (root, loader):
            write_scene_tokenizer(write_scenes(each / "scenes", 8, 2, progress=False))
            write_pictures(each / "images")
        tasks = [(root, name, here) for name in ("first start", "later start")] + [(loader, "throughput", here)]
        if arguments.before:
            tasks.insert(0, (root, "before", arguments.before))
        write_files(root, *counts)
        write_files(loader, PICTURES, PICTURES, PICTURES)
        results, options = [], ["--no-lengths"] * arguments.no_lengths
        for task in tqdm(tasks):
            results += measured(*task, *options)
            tqdm.write(json.dumps(results[-1]))
        megabytes = round(sum(file.stat().st_size for file in (root / "cache").rglob("*")) / 1e6)
    if arguments.json:
        rows = [Result(**row) if "run" in row else Throughput(**row) for row in results]
        write_report(arguments.json, rows, records=counts, workers=WORKERS, cache_megabytes=megabytes)


if __name__ == "__main__":
    main()
