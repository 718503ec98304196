"""The tokenizer of InternLM2 and InternVL2 as a plain fast tokenizer: no remote code, and sentencepiece reads its file only."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from mmengine.logging import print_log
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from lira_plugin.json_file import read_json

Piece = ModelProto.SentencePiece
SPACE = "▁"  # what sentencepiece writes for a space
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def internlm2_tokenizer(path: str | Path, obtain: str = "") -> PreTrainedTokenizerFast:
    """Build the tokenizer of an InternLM2 or InternVL2 folder; a recipe names it as the tokenizer's ``type``.

    Ids are those of the folder's own (slow) tokenizer: added tokens are found first, each stretch of text between them is
    split by sentencepiece's rules on its own, and BOS goes in front. Decoding restores the text, where sentencepiece itself
    can (it does not tell U+2581 from a space). Where an added token has taken over the id of a piece, the piece's old
    spelling is plain text.

    Args:
        path: folder with ``tokenizer.model`` and ``tokenizer_config.json``; ``added_tokens.json`` and
            ``special_tokens_map.json`` are read where they exist.
        obtain: where the folder comes from, for the message when it is not there.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files disagree about an id, or the sentencepiece model is not of the supported kind.
    """
    folder = Path(path)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        if not (folder / name).is_file():
            way_out = f"; {obtain}" if obtain else ""
            raise FileNotFoundError(
                f"{folder} has no {name}: the folder of InternVL2 or InternLM2 is expected{way_out}"
            )
    config = read_json(folder / "tokenizer_config.json")
    roles = {**config, **_optional(folder / "special_tokens_map.json")}
    special = {role: _content(roles[role]) for role in ROLES if roles.get(role) is not None}
    additional = [_content(token) for token in roles.get("additional_special_tokens") or ()]
    model = read_sentencepiece(folder / "tokenizer.model")
    added = _added_tokens(folder, config, model, {*special.values(), *additional})
    core = _build(model, added, folder / "tokenizer.model")
    if config.get("add_bos_token", True):
        core.post_processor = _bos_first(core, special)
    if config.get("add_eos_token"):
        raise ValueError(f"{folder}/tokenizer_config.json sets add_eos_token, which is not supported")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        additional_special_tokens=additional,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special,
        **{key: config[key] for key in ("model_max_length", "chat_template", "padding_side") if config.get(key)},
    )


def read_sentencepiece(path: Path) -> ModelProto:
    """Read a ``tokenizer.model``, a protocol buffer.

    Raises:
        ValueError: the file is cut off or is no sentencepiece model.
    """
    try:
        model = ModelProto.FromString(path.read_bytes())
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no sentencepiece model (is the download complete?): {error}") from error
    if not model.pieces:
        raise ValueError(f"{path} is no sentencepiece model (is the download complete?): it has no pieces")
    return model


def _build(model: ModelProto, added: Mapping[int, AddedToken], where: Path) -> Tokenizer:
    # Sentencepiece takes these out of the text before it merges, as a tokenizer does with added tokens.
    own = {
        index: AddedToken(piece.piece.replace(SPACE, " "), normalized=False, special=False)
        for index, piece in enumerate(model.pieces)
        if piece.type == Piece.USER_DEFINED and index not in added and " " not in piece.piece
    }
    _check_kind(model, bool(own), where)
    tokens = {**own, **added}
    names = [tokens[index].content if index in tokens else piece.piece for index, piece in enumerate(model.pieces)]
    vocabulary = {name: index for index, name in enumerate(names)}
    if len(vocabulary) < len(names):
        twice = next(name for index, name in enumerate(names) if vocabulary[name] != index)
        raise ValueError(f"{where}: {twice!r} has the ids {names.index(twice)} and {vocabulary[twice]}")
    unknown = next(piece.piece for piece in model.pieces if piece.type == Piece.UNKNOWN)
    merges = bpe_merges([piece for index, piece in enumerate(model.pieces) if index not in added], where)
    core = Tokenizer(
        models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=model.trainer_spec.byte_fallback)
    )
    has_prefix = model.normalizer_spec.add_dummy_prefix
    prefix = [normalizers.Prepend(SPACE)] if has_prefix else []
    core.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", SPACE)])
    core.add_tokens([tokens[index] for index in sorted(tokens)])
    for index, token in tokens.items():
        if core.token_to_id(token.content) != index:
            raise ValueError(
                f"{where}: added token {token.content!r} should have id {index}, but the ids before it are not all taken"
            )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([_drop_prefix(added)] if has_prefix else []),
        ]
    )
    return core


def _check_kind(model: ModelProto, user_defined: bool, where: Path) -> None:
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    # "nmt_nfkc" and the like rewrite text by a table; the others strip, keep or move spaces.
    normalizes = (
        normalizer.precompiled_charsmap
        or normalizer.remove_extra_whitespaces
        or not normalizer.escape_whitespaces
        or trainer.treat_whitespace_as_suffix
    )
    problems = {
        "is no BPE model": trainer.model_type != TrainerSpec.BPE,
        "normalises text": normalizes,
        "has user-defined pieces beside a dummy prefix": user_defined and normalizer.add_dummy_prefix,
        "has no unknown piece": all(piece.type != Piece.UNKNOWN for piece in model.pieces),
    }
    found = [problem for problem, present in problems.items() if present]
    if found:
        raise ValueError(f"{where} {' and '.join(found)}: ids equal to sentencepiece's cannot be promised for it")


def bpe_merges(pieces: Sequence[Piece], where: str | Path) -> list[tuple[str, str]]:
    """Rank the pairs of pieces that join to a piece, as sentencepiece does: higher score first.

    Sentencepiece gives all pairs that make one piece the same rank, and of overlapping ones takes the leftmost; here every
    pair has its own, so the pair that can be the left one of two overlapping pairs goes first. (``x + y`` and ``y + z`` make
    the same piece only where ``len(x)`` is a period of it.)

    Texts that may be split otherwise than by sentencepiece, which no trained model has, are warned about.
    """
    scores = {piece.piece: piece.score for piece in pieces if piece.type == Piece.NORMAL}
    found, doubtful, by_score = [], [], {}
    for piece in pieces:
        if piece.type not in (Piece.NORMAL, Piece.UNUSED):
            continue
        text = piece.piece
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in scores and right in scores and piece.type == Piece.NORMAL:
                found.append((-piece.score, text[:-cut] != text[cut:], -cut, left, right))
                if by_score.setdefault(piece.score, text) != text:
                    doubtful.append(text)
            elif all(part in scores or len(part) == 1 for part in (left, right)):
                doubtful.append(text)  # joined by sentencepiece from characters that are no pieces, or to split again
    if doubtful:
        print_log(
            f"{where}: {len(set(doubtful))} pieces have scores in common with others or parts that are no pieces, such as "
            f"{doubtful[:3]}; text with them may be split otherwise than by sentencepiece",
            logger="current",
            level=logging.WARNING,
        )
    return [(left, right) for *_, left, right in sorted(found)]


def _added_tokens(
    folder: Path, config: Mapping[str, Any], model: ModelProto, special: set[str]
) -> dict[int, AddedToken]:
    """Ids and tokens of ``added_tokens.json``, ``tokenizer_config.json`` and the special tokens among the pieces."""
    flags = {int(index): token for index, token in config.get("added_tokens_decoder", {}).items()}
    ids = {index: token["content"] for index, token in flags.items()}
    pieces = {piece.piece: index for index, piece in enumerate(model.pieces)}
    known = {content: index for index, content in ids.items()}
    others = _optional(folder / "added_tokens.json")
    others |= {token: pieces[token] for token in special & set(pieces) if token not in known and token not in others}
    for content, index in others.items():
        if ids.setdefault(index, content) != content:
            raise ValueError(f"{folder}: id {index} is {ids[index]!r} in one file and {content!r} in another")
        if known.get(content, index) != index:
            raise ValueError(f"{folder}: {content!r} has the id {known[content]} in one file and {index} in another")
    missing = special - set(ids.values())
    if missing:
        raise ValueError(f"{folder}: special tokens {sorted(missing)} have no id in any file")
    strips = ("lstrip", "rstrip", "single_word")
    return {
        index: AddedToken(
            content,
            normalized=False,
            special=content in special or flags.get(index, {}).get("special", False),
            **{flag: flags.get(index, {}).get(flag, False) for flag in strips},
        )
        for index, content in ids.items()
    }


def _bos_first(core: Tokenizer, special: Mapping[str, str]) -> processors.TemplateProcessing:
    bos = special["bos_token"]
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, core.token_to_id(bos))]
    )


def _drop_prefix(added: Mapping[int, AddedToken]) -> decoders.Replace:
    """Every stretch of text began with a dummy prefix: at the start, and after each added token."""
    after = "|".join(f"(?<={_escaped(token.content)})" for token in added.values())
    return decoders.Replace(Regex(rf"(?:\A|{after}) "), "")


def _escaped(text: str) -> str:
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
