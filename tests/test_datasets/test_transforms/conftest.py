import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHAT_TOKENS = ("<pad>", "<s>", "<|im_start|>", "<|im_end|>")
SPECIAL_TOKENS = ("<seg>", "<p>", "</p>", "<image_id>")


@pytest.fixture
def make_tokenizer():
    """A byte-level tokenizer that loses nothing: one token a byte, but for ``merges`` and the special tokens."""

    def make(merges=(), prefix_space=False, special_tokens=SPECIAL_TOKENS):
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        words = [*CHAT_TOKENS, *alphabet, *("".join(pair) for pair in merges)]
        model = models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=list(merges))
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
        tokenizer.add_special_tokens([*CHAT_TOKENS, *special_tokens])
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="<|im_end|>"
        )

    return make
