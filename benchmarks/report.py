"""What a benchmark writes down: its results, and what they were measured with."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch


def write_report(path: Path, results: Sequence[Any], device: torch.device | str = "cpu", **settings: Any) -> None:
    """Write the data classes ``results`` with the settings, machine and versions of the run."""
    device = torch.device(device)
    report = {
        **settings,
        "machine": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "architecture": platform.machine(),
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "rows": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
