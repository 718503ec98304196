"""A tokenizer for the scenes: byte-level BPE, so that any text can be written, in which every scene word is one token."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.structures import refer_turn
from lira_plugin.structures.prompts import GCG_QUESTIONS
from lira_plugin.tokens import SpecialTokens
from lira_plugin.written_aside import write_json, written_aside

CHAT_TOKENS = ("<pad>", "<s>", "<|im_start|>", "<|im_end|>")


def write_scene_tokenizer(files: SceneFiles, vocabulary_size: int = 700) -> Path:
    """Train on the texts of the scenes and write ``tokenizer`` beside them; return the folder, which ``AutoTokenizer`` reads.

    Args:
        files: the scenes; a tokenizer that they have already is kept.
        vocabulary_size: of the chat tokens, bytes and words; the special tokens of :class:`SpecialTokens` come after them.
    """
    folder = files.root / "tokenizer"
    if (folder / "tokenizer_config.json").is_file() and _is_complete(folder / "tokenizer.json"):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(CHAT_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(files), trainer)
    tokenizer.add_special_tokens(list(SpecialTokens().in_order))
    with written_aside(folder / "tokenizer.json") as unfinished:
        tokenizer.save(str(unfinished))
    pad, bos, _, end = CHAT_TOKENS
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad, "bos_token": bos, "eos_token": end}
    settings["clean_up_tokenization_spaces"] = False
    write_json(folder / "tokenizer_config.json", settings, indent=1)
    return folder


def _is_complete(path: Path) -> bool:
    """Whether a tokenizer has the special tokens: earlier versions wrote it without them."""
    return set(SpecialTokens().in_order) <= Tokenizer.from_file(str(path)).get_vocab().keys()


def _texts(files: SceneFiles) -> Iterator[str]:
    """Texts as they stand in sequences, questions of the task templates included, each also after a space."""
    texts = dict.fromkeys(files.texts())
    for text in texts:
        yield text
        yield f" {text}"
    for sentence in islice(texts, 5_000):
        for region in (0, None):
            turn = refer_turn(sentence, region)
            yield f"user\n{turn.question}assistant\n{turn.answer}"
    for question in GCG_QUESTIONS:
        yield from [question] * 50
