"""Algorithm 1 for batches."""

from .answer import PhrasePlace, read_answer
from .cache import RowCache
from .decoding import Decoding
from .engine import Grounder, InterleavedGenerator, Progress
from .rows import Prefix, Request

__all__ = [
    "Decoding",
    "Grounder",
    "InterleavedGenerator",
    "PhrasePlace",
    "Prefix",
    "Progress",
    "Request",
    "RowCache",
    "read_answer",
]
