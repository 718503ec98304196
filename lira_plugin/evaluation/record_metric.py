"""The base of metrics over records: each counts once, in the order of the data set, however many processes there are."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric

from lira_plugin.evaluation.given_pairs import as_answer, as_sample, given_targets
from lira_plugin.structures import GroundedText, GroundingSample


class RecordMetric(BaseMetric):
    """Base of metrics that keep one result for each record.

    A subclass says in :meth:`score` what that is, and in ``compute_metrics`` what all results say together. MMEngine's own
    gathering interleaves the lists of the processes and cuts the end off, which is right only for equal shares that were
    dealt in turn; here results carry the index of their record in the data set. A record that several processes have, as
    samplers pad, counts once; one that none has is an error.

    Args:
        prefix: put in front of the keys; none by default.
    """

    default_prefix = ""
    takes_instances = False
    """Whether :meth:`score` takes ``masks``, ``scores`` and ``labels`` by name in place of a :class:`GroundedText`."""

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)

    def score(self, sample: GroundingSample, answer: GroundedText) -> Any:
        """Make the result of a record: something small that can be pickled."""
        raise NotImplementedError

    def process(self, data_batch: dict[str, Any] | None, data_samples: Sequence[Any]) -> None:
        """Keep the results of one batch.

        Args:
            data_batch: what collate returned. Its ``data_samples`` are what is true: :class:`GroundingSample`,
                :class:`~lira_plugin.structures.MaskTarget` or mmdet's ``DetDataSample``. Without them the answers say it.
            data_samples: the model's answers, one for each of them, in the same order: what :meth:`score` takes,
                :class:`~lira_plugin.structures.MaskPrediction` or ``DetDataSample``.

        Raises:
            ValueError: the numbers of samples and answers differ, or a sample does not know its index.
        """
        targets = given_targets(data_batch, data_samples)
        if len(targets) != len(data_samples):
            raise ValueError(f"got {len(data_samples)} answers to {len(targets)} samples")
        classes = (self.dataset_meta or {}).get("classes")
        for target, answer in zip(targets, data_samples):
            sample = as_sample(target, classes)
            index = sample.index
            if index is None and (isinstance(target, GroundingSample) or get_world_size() > 1):
                raise ValueError(
                    f"{sample.name} does not know its index in the data set: set GroundingSample.index, which "
                    "PackGroundingInputs takes from the key 'index', MaskTarget.index, or 'sample_idx' in the meta_keys of "
                    "PackDetInputs"
                )
            # a single process is given every record once, in the order of the data set
            index = len(self.results) if index is None else index
            self.results.append((index, self.score(sample, as_answer(answer, self.takes_instances, classes))))

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the results of all processes and summarise them; every process gets the result.

        Args:
            size: records of the data set.

        Raises:
            ValueError: a record of the data set has no result, or a result belongs to none.
        """
        own, self.results = self.results, []
        results = in_order(chain.from_iterable(all_gather_object(own)), size)
        summary: list[dict[str, float] | None] = [None]
        if is_main_process():
            prefix = f"{self.prefix}/" if self.prefix else ""
            summary = [{prefix + name: value for name, value in self.compute_metrics(results).items()}]
        broadcast_object_list(summary)
        return summary[0]


def check_answer(sample: GroundingSample, answer: Any, kind: type, keys: Sequence[str] = ()) -> None:
    """Refuse what no model of the recipe would answer.

    Args:
        sample: what was asked.
        answer: the answer.
        kind: its class.
        keys: that a mapping has to have.

    Raises:
        ValueError: it is of another class, or lacks a key.
    """
    if not isinstance(answer, kind):
        raise ValueError(f"{sample.name}: the answer must be a {kind.__name__}, got {type(answer).__name__}")
    if lacking := [key for key in keys if key not in answer]:
        raise ValueError(f"{sample.name}: the answer lacks {', '.join(lacking)}; it has {', '.join(map(str, answer))}")


def in_order(results: Iterable[tuple[int, Any]], size: int) -> list[Any]:
    """Put (index, result) in the order of the indices 0 to ``size - 1``; of several results with one index the first counts.

    Raises:
        ValueError: an index is missing or out of range.
    """
    found: dict[int, Any] = {}
    for index, result in results:
        found.setdefault(index, result)
    missing = [index for index in range(size) if index not in found]
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{len(missing)} of {size} records were not answered: index {shown}; the sampler must give every record to "
            "some process"
        )
    if len(found) > size:
        raise ValueError(f"the record of index {max(found)} was answered, but the data set has only {size}")
    return [found[index] for index in range(size)]
