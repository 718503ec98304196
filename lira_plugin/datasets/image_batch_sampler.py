"""Batches for evaluation and inference that keep what is about one image together."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from lira_plugin.registry import DATA_SAMPLERS


def image_batches(images: Sequence[Hashable | None], batch_size: int) -> list[list[int]]:
    """Put indices into batches so that no image is split over two.

    Args:
        images: names the image of each item; None for an item without one.
        batch_size: items of a batch at most. Only the items of a single image may be more.

    Returns:
        Indices, each once; images are in the order in which they come first.

    Raises:
        ValueError: ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    groups: dict[Any, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(("without", index) if image is None else ("image", image), []).append(index)
    batches: list[list[int]] = []
    for group in groups.values():
        if batches and len(batches[-1]) + len(group) <= batch_size:
            batches[-1] += group
        else:
            batches.append(list(group))
    return batches


class _WithImages(Protocol):
    """A data set that knows the image of each record."""

    image_paths: list[str | None]

    def __len__(self) -> int: ...


class _OverDataset(Protocol):
    """Any sampler of MMEngine's."""

    dataset: _WithImages


@DATA_SAMPLERS.register_module()
class ImageBatchSampler(Sampler):
    """Batch sampler for evaluation: the records of an image come in one batch, in which the image is read and encoded once.

    Each record comes once, on one process only: the batches of :func:`image_batches` are dealt to the processes in turn,
    so that these may get different numbers of records, in another order than that of the data set. Metrics have to bear
    that (:class:`~lira_plugin.evaluation.RecordMetric` does). For ``val_dataloader`` and ``test_dataloader``::

        sampler=dict(type=DefaultSampler, shuffle=False),
        batch_sampler=dict(type=ImageBatchSampler),

    Args:
        sampler: only its ``dataset`` is used.
        batch_size: see :func:`image_batches`.

    Raises:
        TypeError: the data set does not say which image a record is about.
    """

    def __init__(self, sampler: _OverDataset, batch_size: int) -> None:
        if not hasattr(sampler.dataset, "image_paths"):
            raise TypeError(
                f"{type(sampler.dataset).__name__} has no image_paths, one a record, which {type(self).__name__} needs"
            )
        rank, world_size = get_dist_info()
        self.batches = image_batches(sampler.dataset.image_paths, batch_size)[rank::world_size]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        """Batches of this process."""
        return len(self.batches)
