"""An endless, reproducible stream of draws that a resumed training can enter anywhere."""

import math
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from lira_plugin.datasets.grounding_dataset import Draw
from lira_plugin.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """Endless sampler for iteration-based training.

    Over all ranks the draws have the indices 0, 1, 2, ...; draw ``n`` is record ``n mod size`` of the permutation of epoch
    ``n // size``, which depends on ``(seed, epoch)`` alone (with ``length_group``, on the count of
    ranks too). Rank ``r`` of ``w`` takes the draws r, r + w, r + 2w, ...
    Every iteration over the sampler begins at ``start``, so nothing has to be loaded to resume.

    Args:
        dataset: what is drawn from; only its length is used.
        seed: seed of the permutations, the same on all ranks; None takes a random one, which the ranks agree on. To
            resume, use the same seed again (attribute ``seed``).
        shuffle: permute each epoch anew; otherwise every epoch is in file order.
        start: draws that *this rank* has consumed already, see :meth:`skip`.
        length_group: draws of one rank that are to be of similar length, such as batch size times accumulation; None for no
            grouping. Groups are made as by xtuner's ``LengthGroupedSampler``, over ``dataset.modality_length``.

    Raises:
        ValueError: the data set is empty, ``start`` is negative, or groups are asked for without shuffling.
        TypeError: groups are asked for and the data set does not know its lengths.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = None,
        shuffle: bool = True,
        start: int = 0,
        length_group: int | None = None,
    ) -> None:
        self.size = len(dataset)
        if not self.size:
            raise ValueError("cannot sample from an empty data set")
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self.start = 0
        self.skip(start)
        self.lengths: np.ndarray | None = None
        if length_group is not None:
            if not shuffle or length_group < 1:
                raise ValueError(f"length_group={length_group} must be positive, and needs shuffle=True")
            if not hasattr(dataset, "modality_length"):
                raise TypeError(
                    f"{type(dataset).__name__} has no modality_length, one a record, which length_group needs"
                )
            self.lengths = np.asarray(dataset.modality_length)
            together = length_group * self.world_size
            # as xtuner's sampler: chunks of 50 groups are sorted, or a quarter of a small data set
            self.chunk = together * max(1, min(self.size // (4 * together), 50))

    def skip(self, num_draws_per_rank: int) -> None:
        """Let the next iteration begin after the first ``num_draws_per_rank`` draws of this rank.

        They count from the start of the training: the batches a rank has taken, times its batch size. Calling it again
        replaces the earlier setting and does not add. To resume on another count of ranks, pass the draws of all ranks
        together divided by the new count.

        Raises:
            ValueError: the count is negative.
        """
        if num_draws_per_rank < 0:
            raise ValueError(f"the count of draws to skip must not be negative, got {num_draws_per_rank}")
        self.start = num_draws_per_rank

    def __iter__(self) -> Iterator[Draw]:
        draw_index = self.rank + self.start * self.world_size
        epoch, order = -1, np.arange(self.size)
        while True:
            if self.shuffle and draw_index // self.size != epoch:
                epoch = draw_index // self.size
                order = self._permutation(epoch)
            yield Draw(int(order[draw_index % self.size]), draw_index)
            draw_index += self.world_size

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self.size)
        return order if self.lengths is None else _sorted_in_chunks(order, self.lengths, self.chunk, rng)

    def __len__(self) -> int:
        """Draws of one epoch on one rank, rounded up; the stream itself does not end."""
        return math.ceil(self.size / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream runs through the epochs itself (MMEngine calls this for epoch-based training)."""


def _sorted_in_chunks(order: np.ndarray, lengths: np.ndarray, chunk: int, rng: np.random.Generator) -> np.ndarray:
    """Sort each ``chunk`` of a permutation from long to short; records with and without an image share none but the last."""
    chunks, rest = [], []
    for kind in (order[lengths[order] > 0], order[lengths[order] <= 0]):
        whole = len(kind) // chunk * chunk
        chunks += np.split(kind[:whole], whole // chunk) if whole else []
        rest.append(kind[whole:])
    chunks = [chunks[index] for index in rng.permutation(len(chunks))] + [np.concatenate(rest)]
    return np.concatenate([own[np.argsort(-np.abs(lengths[own]), kind="stable")] for own in chunks])
