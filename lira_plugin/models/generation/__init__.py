"""Algorithm 1 for batches."""

from lira_plugin.models.generation.answer import PhrasePlace, read_answer
from lira_plugin.models.generation.cache import RowCache
from lira_plugin.models.generation.decoding import Decoding
from lira_plugin.models.generation.drafts import Drafts
from lira_plugin.models.generation.engine import Grounder, InterleavedGenerator, Progress
from lira_plugin.models.generation.rows import Prefix, Request

__all__ = [
    "Decoding",
    "Drafts",
    "Grounder",
    "InterleavedGenerator",
    "PhrasePlace",
    "Prefix",
    "Progress",
    "Request",
    "RowCache",
    "read_answer",
]
