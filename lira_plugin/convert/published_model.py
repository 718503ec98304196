"""A published folder of a vision-language model: its semantic encoder and its LLM, loaded directly or converted."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from accelerate import init_empty_weights
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from lira_plugin.checkpoint.files import is_meta_init
from lira_plugin.convert.decoder_rules import decoder_rules
from lira_plugin.convert.llm_families import LlmFamily
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.convert.safetensors_folder import SafetensorsFolder, read_config
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import Rule, check_rules, read_targets
from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.precision import as_dtype
from lira_plugin.written_aside import write_json


def published_config(path: Path, published: str | None, obtain: str) -> Mapping[str, Any]:
    """The folder's configuration, or that of a published model; see :class:`PublishedModel`.

    Raises:
        FileNotFoundError: no ``config.json``.
    """
    try:
        return read_config(path)
    except FileNotFoundError as error:
        if published is None or not is_meta_init():
            raise FileNotFoundError(f"{error}; {obtain}" if obtain else str(error)) from None
        return PUBLISHED[published]


class PublishedModel(ABC):
    """What the configuration of a published folder says, and the rules for its tensors.

    Args:
        path: folder with ``config.json``; the weights are not looked at before they are needed.
        published: name of a published model (:data:`~lira_plugin.convert.published.PUBLISHED`), whose sizes stand in for a folder
            that is not there while weights are left out (:func:`~lira_plugin.checkpoint.files.is_meta_init`).
        obtain: where the folder comes from, for the message when it is not there.

    Raises:
        FileNotFoundError: no ``config.json``.
    """

    supported: ClassVar[str]
    """What may be in the folder, for messages."""
    unused: ClassVar[Mapping[str, str]] = {}
    """Regular expressions of names of tensors that are not used, with the reason."""
    encoder_class: ClassVar[type[SemanticEncoder]]
    chat_template: str
    """The name of our chat template for the folder."""
    llm: Mapping[str, Any]
    """Settings of the language model, named as in transformers' configurations."""
    family: LlmFamily
    """Of the language model."""

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        self.path = Path(path)
        self.config = published_config(self.path, published, obtain)

    def use_llm(self, family: LlmFamily, llm: Mapping[str, Any], where: str) -> None:
        """Take the settings of the language model.

        Raises:
            ValueError: one of them is not supported.
        """
        self.expect(llm, where, **family.fixed)
        self.family, self.llm = family, llm
        if self.is_tied:
            stack, head = self.llm_prefixes()
            self.unused = {**self.unused, re.escape(f"{head}lm_head.weight"): f"tied to {stack}embed_tokens.weight"}

    def expect(self, found: Mapping[str, Any], where: str, **expected: Any) -> None:
        """Check settings that would change the computation; absent ones have these values in the published code.

        Raises:
            ValueError: a setting has another value.
        """
        for name, value in expected.items():
            if found.get(name, value) != value or (name == "model_type" and name not in found):
                self._refuse(f"{where}{name}", found.get(name), repr(value))

    def expect_one_of(self, name: str, found: Any, expected: Iterable[Any]) -> None:
        """Check a setting of which several values are supported.

        Raises:
            ValueError: it has another value.
        """
        if found not in expected:
            self._refuse(name, found, " or ".join(map(repr, expected)))

    def _refuse(self, name: str, found: Any, expected: str) -> NoReturn:
        raise ValueError(
            f"{self.path}/config.json has {name}={found!r}, expected {expected}: supported are {self.supported}"
        )

    @property
    def is_tied(self) -> bool:
        """Whether the head of the language model is its embedding."""
        return bool(self.llm.get("tie_word_embeddings"))

    def llm_config(self, **settings: Any) -> PretrainedConfig:
        """Of the language model; ``settings`` replace what the folder says."""
        return self.family.configure(self.llm, **settings)

    def tokenizer(self, obtain: str = "") -> PreTrainedTokenizerBase:
        """The folder's own."""
        return self.family.tokenizer(self.path, obtain)

    @abstractmethod
    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the encoder's class."""

    @abstractmethod
    def semantic_encoder_rules(self) -> list[Rule]:
        """From the folder's names to those of the encoder's class."""

    @abstractmethod
    def llm_prefixes(self) -> tuple[str, str]:
        """What stands in front of the names of the language model's layers, and of its head."""

    def find_prefixes(self, stacks: Sequence[tuple[str, ...]], told_by: int) -> tuple[str, ...]:
        """The first of some sets of prefixes that the files have; the first of all where there are no files.

        Args:
            stacks: the sets.
            told_by: index of the prefix that tells them apart.
        """
        try:
            names = SafetensorsFolder(self.path).infos
        except FileNotFoundError:
            return stacks[0]
        found = (stack for stack in stacks if any(name.startswith(stack[told_by]) for name in names))
        return next(found, stacks[0])

    def llm_rules(self) -> list[Rule]:
        """From the folder's names to those of the language model's class."""
        stack, head = self.llm_prefixes()
        family = self.family
        return decoder_rules(self.llm, family.names, family.qkv_bias, stack, head, self.is_tied, family.qk_norm)

    def rules(self) -> list[Rule]:
        """For every tensor of the folder."""
        return [*self.semantic_encoder_rules(), *self.llm_rules()]

    def open(self) -> tuple[SafetensorsFolder, dict[str, str]]:
        """The weights, checked as a whole, and the unused tensors with the reason.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a tensor does not fit.
        """
        folder = SafetensorsFolder(self.path)
        return folder, check_rules(self.rules(), folder.infos, str(self.path), self.unused)

    def load_llm(self, dtype: str | torch.dtype = torch.float32, **settings: Any) -> PreTrainedModel:
        """The language model; on the meta device without weights. ``settings`` are of its configuration.

        With ``tie_word_embeddings=False`` the head of a folder that ties it becomes a copy of the embedding.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a tensor does not fit, or the settings tie a head that the folder has of its own.
        """
        with init_empty_weights(include_buffers=False):
            model = self.family.model(self.llm_config(**settings))
        if is_meta_init():
            model.to(as_dtype(dtype))
        else:
            state = self._read_weights(self.llm_rules(), dtype)
            tied = model.config.tie_word_embeddings
            if tied and "lm_head.weight" in state:
                raise ValueError(f"{self.path} has a head of its own, which tie_word_embeddings=True would lose")
            embedding = state["model.embed_tokens.weight"]
            state.setdefault("lm_head.weight", embedding if tied else embedding.clone())
            model.load_state_dict(state, assign=True)
        model.tie_weights()  # each name was given a parameter of its own
        return model

    def load_semantic_encoder(self, dtype: str | torch.dtype = torch.float32, **settings: Any) -> SemanticEncoder:
        """The semantic encoder; on the meta device without weights. ``settings`` are of its class."""
        encoder = self.empty_encoder(**settings)
        if not is_meta_init():
            encoder.load_state_dict(self._read_weights(self.semantic_encoder_rules(), dtype), assign=True)
        return encoder.to(as_dtype(dtype))

    def empty_encoder(self, **settings: Any) -> SemanticEncoder:
        """The semantic encoder without weights."""
        # timm computes with values of the default device, which a meta tensor does not have.
        with torch.device("cpu"), init_empty_weights(include_buffers=False):
            return self.encoder_class(**{**self.semantic_encoder_args(), **settings})

    def _read_weights(self, rules: Sequence[Rule], dtype: str | torch.dtype) -> dict[str, Tensor]:
        folder, _ = self.open()
        # A copy, as a view of the file would change or vanish with it.
        return {name: part.clone() for name, part in read_targets(rules, folder, as_dtype(dtype))}

    def convert(
        self, out: str | Path, dtype: str | torch.dtype | None = None, shard_bytes: float = 2e9
    ) -> dict[str, str]:
        """Write the parts as folders of their own.

        ``out/llm`` is what ``AutoModelForCausalLM`` and ``AutoTokenizer`` read; ``out/semantic_encoder`` has the arguments of the
        encoder's class in ``config.json`` and its weights in one file beside, for a recipe's ``init_from``. A run that broke off
        goes on where it was.

        Args:
            out: folder to write to.
            dtype: of the output; None keeps that of the files.
            shard_bytes: of an output shard of the language model, which bounds the memory (the semantic encoder is one shard).

        Returns:
            Tensors that are not used, with the reason.
        """
        dtype, out = as_dtype(dtype), Path(out)
        folder, unused = self.open()
        tokenizer = self.tokenizer()
        write_shards(self.semantic_encoder_rules(), folder, out / "semantic_encoder", dtype, inf)
        write_json(out / "semantic_encoder" / "config.json", self.semantic_encoder_args(), indent=1)
        llm_rules = self.llm_rules()
        write_shards(llm_rules, folder, out / "llm", dtype, shard_bytes)
        tokenizer.save_pretrained(out / "llm")
        config = self.llm_config(architectures=[self.family.architecture])
        config.torch_dtype = dtype or folder.infos[next(iter(llm_rules[0].source_shapes()))].dtype
        GenerationConfig.from_model_config(config).save_pretrained(out / "llm")
        config.save_pretrained(out / "llm")
        return unused
