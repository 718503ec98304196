"""Algorithm 1 for batches."""

from lira_plugin.models.generation.answer import PhraseTokens, read_answer
from lira_plugin.models.generation.answer_news import Progress
from lira_plugin.models.generation.compiled_pass import CompiledPass
from lira_plugin.models.generation.decoder_pass import HuggingFacePass, LlamaPass
from lira_plugin.models.generation.decoding import Decoding
from lira_plugin.models.generation.engine import InterleavedGenerator
from lira_plugin.models.generation.kv_cache import SlotKVCache
from lira_plugin.models.generation.protocols import GroundedLLM, Grounder
from lira_plugin.models.generation.state import Prefix, Request
from lira_plugin.models.generation.word_tokens import WordRule, WordSet

__all__ = [
    "CompiledPass",
    "Decoding",
    "GroundedLLM",
    "Grounder",
    "HuggingFacePass",
    "InterleavedGenerator",
    "LlamaPass",
    "PhraseTokens",
    "Prefix",
    "Progress",
    "Request",
    "SlotKVCache",
    "WordRule",
    "WordSet",
    "read_answer",
]
