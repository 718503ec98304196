"""``lira label`` is killed in the middle, and every record is answered exactly once all the same.

Without ``--ray`` the command is killed (``kill -9``) twice and started again. With it, the command goes on, and one of its two
Ray workers is killed.

    LIRA_TINY_ROOT=work_dirs/tiny python benchmarks/label_faults.py --model work_dirs/tiny/lira
    LIRA_TINY_ROOT=work_dirs/tiny python benchmarks/label_faults.py --model work_dirs/tiny/lira --ray
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from running_server import scene_questions

TOOL = Path(__file__).resolve().parents[1] / "tools" / "label.py"


def count_of(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def wait_for(out: Path, count: int, process: subprocess.Popen) -> None:
    while count_of(out) < count:
        if process.poll() is not None:
            raise RuntimeError(f"the command ended with {process.returncode} after {count_of(out)} records")
        time.sleep(0.05)


def kill_a_worker(process: subprocess.Popen) -> int:
    """Kill one of the Ray workers that this command has started."""
    workers = [one for one in psutil.Process(process.pid).children(recursive=True) if "RayLabeller" in one.name()]
    workers += [
        one for one in psutil.Process(process.pid).children(recursive=True) if "ray::" in " ".join(one.cmdline())
    ]
    workers.sort(key=lambda one: -one.memory_info().rss)
    workers[0].send_signal(signal.SIGKILL)
    return workers[0].pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lira_tiny")
    parser.add_argument("--weights")
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--ray", action="store_true")
    args = parser.parse_args()
    asked = scene_questions("segment")
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        with source.open("w") as file:
            for index in range(args.records):
                one = asked[index % len(asked)]
                file.write(
                    json.dumps({"id": f"r{index}", "image": str(one.path.resolve()), "question": one.text}) + "\n"
                )
        command = [sys.executable, str(TOOL), str(source), str(out), "--model", args.model, "--batch-size", "64"]
        command += ["--weights", args.weights] if args.weights else []
        command += ["--ray", "--ray-workers", "2"] if args.ray else []
        start, killed = time.monotonic(), []
        if args.ray:
            process = subprocess.Popen(command)
            wait_for(out, args.records // 4, process)
            killed.append((kill_a_worker(process), count_of(out)))
            assert process.wait() == 0
        else:
            for share in (4, 2):
                process = subprocess.Popen(command)
                wait_for(out, args.records // share, process)
                process.kill()
                process.wait()
                killed.append((process.pid, count_of(out)))
            assert subprocess.run(command).returncode == 0
        entries = [json.loads(line) for line in out.read_text().splitlines()]
        counts = Counter(entry["id"] for entry in entries)
        errors = sum(bool(entry["error"]) for entry in entries)
        print(f"killed {killed} (process, records by then)")
        print(
            f"{len(entries)} entries of {len(counts)} records, most entries of a record {max(counts.values())}, {errors} errors"
        )
        print(f"{time.monotonic() - start:.0f} s")
        assert len(entries) == len(counts) == args.records and not errors
        by_question = {}
        for entry in entries:
            by_question.setdefault((entry["image"], entry["question"]), set()).add(entry["text"])
        assert all(len(texts) == 1 for texts in by_question.values()), "equal questions have equal answers"


if __name__ == "__main__":
    main()
