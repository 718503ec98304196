"""mmdet's BERT from nothing: it can only read one from a folder."""

from tempfile import TemporaryDirectory
from typing import Any

from mmdet.models import BertModel
from transformers import AutoTokenizer, BertConfig, BertTokenizerFast
from transformers import BertModel as Transformer

from lira_plugin.registry import MODELS

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?")


@MODELS.register_module()
class NewBertModel(BertModel):
    """A BERT with random weights that knows the whole words of another tokenizer.

    Args:
        tokenizer: folder of a tokenizer, of which the vocabulary is taken.
        config: arguments of transformers' ``BertConfig``.
        settings: arguments of mmdet's ``BertModel`` without ``name``.
    """

    def __init__(self, tokenizer: str, config: dict, **settings: Any) -> None:
        words = {word.lstrip("Ġ").lower() for word in AutoTokenizer.from_pretrained(tokenizer).get_vocab()}
        vocabulary = [*SPECIAL_TOKENS, *sorted(word for word in words if word.isalnum() and word.isascii())]
        with TemporaryDirectory() as folder:
            path = f"{folder}/vocab.txt"
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(vocabulary))
            BertTokenizerFast(path).save_pretrained(folder)
            Transformer(BertConfig(**config, vocab_size=len(vocabulary))).save_pretrained(folder)
            super().__init__(name=folder, **settings)
