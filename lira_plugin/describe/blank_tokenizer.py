"""A stand-in for a tokenizer whose files are not there: it has the size, and no words."""

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast


def blank_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of ``size`` tokens, to which special ones can be added."""
    vocabulary = {f"#{index}": index for index in range(size)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="#0")), unk_token="#0"
    )
