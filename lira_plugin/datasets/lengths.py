"""How long the sequences of records become, without reading their images."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from mmengine.dataset import Compose

from lira_plugin.datasets.agreed import needed
from lira_plugin.datasets.cache_folder import digest
from lira_plugin.datasets.first_pass import stored_array
from lira_plugin.datasets.record_store import RecordStore
from lira_plugin.datasets.transforms import ILVC, TileImage, TokenizeConversation
from lira_plugin.datasets.transforms.image import count_tiles
from lira_plugin.datasets.transforms.pixels import header_size
from lira_plugin.structures import Record

CHUNK = 10_000
"""Records whose draws come from one generator, and of which a worker says all lengths at once."""
_TOGETHER = 1000
"""Records whose texts are tokenized together."""


def record_lengths(dataset: Any, pipeline: Compose) -> list[int]:
    """Length of each record of a reader for samplers that group equal ones, negative without an image (xtuner's convention).

    Positions of the sequences where the pipeline makes some (:class:`SequenceLengths`), else words of questions and answers, at
    least one. Sentences and questions that are drawn are drawn once for this. Lengths of stored records are stored beside them
    for each pipeline and seed; several workers count them the first time, and go on where workers were ended.

    Raises:
        TypeError: the data set is no reader, whose records could be looked at.
    """
    if not (hasattr(dataset, "get_record") and hasattr(dataset, "seed")):
        raise TypeError(
            f"{type(dataset).__name__} cannot say how long its sequences are, as length_group needs: it has no seed and "
            "get_record, as a GroundingDataset has; list the parts of a mixture inside of a mixture in the outer one"
        )
    sequences = SequenceLengths.of_pipeline(pipeline)
    chunks = _Chunks(dataset, sequences or _words)
    records = getattr(dataset, "_records", None)
    if not isinstance(records, RecordStore):
        return np.concatenate([np.empty(0, np.int32), *map(chunks.__getitem__, range(len(chunks)))]).tolist()
    key = digest("words" if sequences is None else sequences.identity(), repr(dataset.seed))
    return stored_array(
        records.folder / f"lengths-{key}.npy", chunks, len(dataset), CHUNK, f"lengths of {dataset.source}"
    ).tolist()


class _Chunks:
    """Lengths of :data:`CHUNK` records at a time, (n,) int32; those of a chunk depend on no other chunk."""

    def __init__(self, dataset: Any, lengths_of: Callable[[Sequence[Record]], list[int]]) -> None:
        self.dataset, self.lengths_of = dataset, lengths_of

    def __len__(self) -> int:
        return -(-len(self.dataset) // CHUNK)

    def __getitem__(self, chunk: int) -> np.ndarray:
        seed = self.dataset.seed
        rng = np.random.default_rng((seed, chunk) if chunk else seed)
        indices = iter(range(chunk * CHUNK, min(len(self.dataset), (chunk + 1) * CHUNK)))
        lengths: list[int] = []
        while records := [self.dataset.get_record(index, rng) for index in islice(indices, _TOGETHER)]:
            signs = (-1 if record.image_path is None else 1 for record in records)
            lengths += [sign * length for sign, length in zip(signs, self.lengths_of(records), strict=True)]
        return np.array(lengths, np.int32)


def makes_sequences(pipeline: Compose) -> bool:
    """Whether a pipeline has the steps that :class:`SequenceLengths` needs."""
    return SequenceLengths.of_pipeline(pipeline) is not None


def _words(records: Sequence[Record]) -> list[int]:
    turns = ([f"{turn.question} {turn.answer}" for turn in record.conversation.turns] for record in records)
    return [max(1, sum(len(text.split()) for text in texts)) for texts in turns]


class SequenceLengths:
    """Positions of the sequences that a pipeline makes of records.

    Text is tokenized as a whole, views are counted by the share of samples that have them, and of an image only the header is
    read where its size is not annotated. Sentences and questions that are drawn anew each time make the only larger error.

    Args:
        tile, interleave, tokenize: steps of the pipeline.
    """

    def __init__(self, tile: TileImage, interleave: ILVC, tokenize: TokenizeConversation) -> None:
        self.tile, self.interleave, self.tokenize = tile, interleave, tokenize
        self._blocks: dict[tuple[int, int], int] = {}

    @classmethod
    def of_pipeline(cls, pipeline: Compose) -> "SequenceLengths | None":
        """Take the steps from a pipeline; None where it makes no sequences."""
        found = []
        for kind in (TileImage, ILVC, TokenizeConversation):
            found += [step for step in pipeline.transforms if isinstance(step, kind)][:1]
        return cls(*found) if len(found) == 3 else None

    def identity(self) -> str:
        """All that lengths depend on but for the records: settings of the steps, and what the tokenizer makes of texts."""
        tokenizer = needed(self.tokenize.tokenizer, self.tokenize, "tokenizer")
        fast = getattr(tokenizer, "backend_tokenizer", None)
        vocabulary = repr(sorted(tokenizer.get_vocab().items())) if fast is None else fast.to_str()
        tile, interleave = self.tile, self.interleave
        settings = (tile.min_tiles, tile.max_tiles, tile.size, interleave.view_share, interleave.template)
        more = (interleave.tokens, self.tokenize.max_length, self.tokenize.layout)
        return repr((settings, more, type(tokenizer).__name__, digest(vocabulary)))

    def __call__(self, records: Sequence[Record]) -> list[int]:
        """Positions of each of the records."""
        texts = [self._text(record) for record in records]
        ids = needed(self.tokenize.tokenizer, self.tokenize, "tokenizer")(texts, add_special_tokens=False)["input_ids"]
        lengths = []
        for record, tokens in zip(records, ids, strict=True):
            mentions = sum(len(turn.spans) for turn in record.conversation.turns)
            views = round(self.interleave.view_share * mentions * len(self.tokenize.layout.view))
            block = 0 if record.image_path is None else self._block(record)
            lengths.append(min(len(tokens), self.tokenize.max_length) + views + block)
        return lengths

    def _text(self, record: Record) -> str:
        """The conversation in its template, with the tokens of grounded phrases but no views."""
        template = needed(self.interleave.template, self.interleave, "template")
        tokens = self.interleave.tokens
        marks = f"{tokens.seg}{tokens.image_id} {tokens.phrase_start} {tokens.phrase_end} {tokens.seg}"
        text = ""
        for index, turn in enumerate(record.conversation.turns):
            question = "".join(template.question(turn.question, first=index == 0))
            text += question + turn.answer + marks * len(turn.spans) + template.suffix
        return text

    def _block(self, record: Record) -> int:
        """Positions of the visual block."""
        size = tuple(record.size or image_size(record))
        if size not in self._blocks:
            tiles = count_tiles(*size, self.tile.min_tiles, self.tile.max_tiles, self.tile.size)
            self._blocks[size] = len(self.tokenize.layout.block(tiles))
        return self._blocks[size]


def image_size(record: Record) -> tuple[int, int]:
    """(height, width) of the image as it will be read, from its header."""
    try:
        return header_size(record.image_path, record.exif)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{record.source} record {record.record_id}: the size of {record.image_path} cannot be read ({error}); check "
            "image_root of the data set, or fetch the file again"
        ) from error
