"""The same over a Ray cluster: each actor has a model, and one process writes."""

import json
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
import ray.data

from lira_plugin.inference import LIRAInferencer
from lira_plugin.labelling.label_inputs import LabelRecord
from lira_plugin.labelling.label_outputs import label_entry
from lira_plugin.labelling.labeller import Labeller
from lira_plugin.written_aside import json_line

_TOGETHER = 64
"""Records that an actor gets at a time, and asks again where it died."""


@dataclass(frozen=True)
class ModelSettings:
    """How an actor makes its model.

    Args:
        model, weights, device, dtype, quantize: see :class:`~lira_plugin.inference.LIRAInferencer`; paths are of its machine.
        force: see :class:`~lira_plugin.labelling.labeller.Labeller`.
        settings: of generation.
    """

    model: str | None
    weights: str | None
    device: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    force: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def labeller(self) -> Labeller:
        """Load the model."""
        how = {"dtype": self.dtype, "quantize": self.quantize, "show_progress": False}
        lira = LIRAInferencer(self.model, self.weights, self.device, **how)
        return Labeller(lira, self.force, **self.settings)


class RayLabeller:
    """What an actor does: records in, entries of the output as JSON out.

    Args:
        how: makes its model.
    """

    def __init__(self, how: ModelSettings) -> None:
        self.labeller = how.labeller()

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, np.ndarray]:
        """Answer the records of a batch."""
        records = [pickle.loads(record) for record in batch["record"]]
        entries = [label_entry(*result) for result in self.labeller.results(records)]
        return {"entry": np.array([json_line(entry) for entry in entries], object)}


def ray_entries(
    records: Iterable[LabelRecord], how: ModelSettings, address: str | None, workers: int | None
) -> Iterator[dict[str, Any]]:
    """The entry of each record, as they come. A batch whose actor dies is given to another one.

    Args:
        records: what is asked; Ray's object store takes them, and writes to its disk what does not fit.
        how: makes the model of an actor.
        address: of the cluster; None starts one on this machine.
        workers: actors; None takes one a GPU, or one for every two CPUs where there is no GPU.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.init(address, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        has = ray.cluster_resources()
        gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 1))
        workers = workers or gpus or max(1, cpus // 2)
        share = {"num_gpus": gpus / workers} if gpus else {"num_cpus": max(1, cpus // workers)}
        items = [{"record": pickle.dumps(record)} for record in records]
        if not items:
            return
        data = ray.data.from_items(items, override_num_blocks=-(-len(items) // _TOGETHER))
        answered = data.map_batches(
            RayLabeller, fn_constructor_args=(how,), batch_size=_TOGETHER, concurrency=workers, **share
        )
        for row in answered.iter_rows():
            yield json.loads(row["entry"])
    finally:
        ray.shutdown()
