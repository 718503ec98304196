"""Whether two phrases mean the same: by their words, or by the embeddings of a language model."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

TextSimilarity = Callable[[str, str], float]
"""Similarity of two texts; 1 for the same."""

MODELS = {"bert": "bert-base-uncased", "minilm": "sentence-transformers/all-MiniLM-L6-v2"}
"""Language models by name; ``bert`` is that of the paper."""
SIMILARITIES = ("exact", *MODELS)

_EMBEDDINGS_KEPT = 4096


def build_similarity(name: str = "exact", model: str | None = None) -> TextSimilarity:
    """A similarity by name.

    ``exact`` is 1 for texts that are equal in lower case without blanks around them, else 0; it needs no file. ``bert`` and
    ``minilm`` are the cosine of two embeddings, see :class:`EmbeddingSimilarity`.

    Args:
        name: one of :data:`SIMILARITIES`.
        model: folder or hub name of the language model, in place of that of :data:`MODELS`.

    Raises:
        ValueError: there is none of this name.
        OSError: the model's files are not there.
    """
    if name not in SIMILARITIES:
        raise ValueError(f"unknown similarity {name!r}; known are {list(SIMILARITIES)}")
    if name == "exact":
        if model is not None:
            raise ValueError(f"the similarity 'exact' has no model, got {model!r}; choose one of {list(MODELS)}")
        return exact_similarity
    return EmbeddingSimilarity(model or MODELS[name])


def exact_similarity(one: str, two: str) -> float:
    """1 for texts that are equal in lower case without blanks around them, else 0."""
    return float(one.strip().lower() == two.strip().lower())


class EmbeddingSimilarity:
    """The cosine of two texts' embeddings: means of the last hidden states, over all tokens, the special ones too.

    Of a text, 512 tokens count, as in GLaMM's evaluation. Embeddings are kept for the texts that were asked about last.

    Args:
        model: folder or hub name of a language model.

    Raises:
        OSError: its files are not there; the message says how to have them.
    """

    def __init__(self, model: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
            self.model = AutoModel.from_pretrained(model).eval()
        except (OSError, ValueError) as error:
            raise OSError(
                f"the language model {model!r} that is to compare phrases cannot be loaded: {error}\nDownload it from "
                f"https://huggingface.co/{MODELS['bert']} and name its folder (--similarity-model, or similarity_model of the "
                "metric), or compare with 'exact', which needs no file"
            ) from error
        self.embed = lru_cache(_EMBEDDINGS_KEPT)(self._embed)

    def __call__(self, one: str, two: str) -> float:
        """The cosine, -1 to 1."""
        first, second = self.embed(one), self.embed(two)
        lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
        return float(first @ second) / lengths if lengths else 0.0

    @torch.no_grad()
    def _embed(self, text: str) -> np.ndarray:
        tokens = self.tokenizer(text, return_tensors="pt", max_length=512, truncation=True)
        return self.model(**tokens).last_hidden_state[0].mean(0).float().numpy()
