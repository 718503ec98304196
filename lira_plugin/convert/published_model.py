"""A published folder of a vision-language model: its semantic encoder and its LLM, loaded directly or converted."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import init_empty_weights
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from lira_plugin.checkpoint.files import is_meta_init
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.convert.safetensors_folder import SafetensorsFolder, read_config
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule, check_rules, read_targets
from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.precision import as_dtype
from lira_plugin.written_aside import write_json


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
    llm_class: ClassVar[type[PreTrainedModel]]
    encoder_class: ClassVar[type[SemanticEncoder]]

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        self.path = Path(path)
        try:
            self.config: Mapping[str, Any] = read_config(self.path)
        except FileNotFoundError as error:
            if published is None or not is_meta_init():
                raise FileNotFoundError(f"{error}; {obtain}" if obtain else str(error)) from None
            self.config = PUBLISHED[published]

    def expect(self, found: Mapping[str, Any], where: str, **expected: Any) -> None:
        """Check settings that would change the computation; absent ones have these values in the published code.

        Raises:
            ValueError: a setting has another value.
        """
        for name, value in expected.items():
            if found.get(name, value) != value or (name == "model_type" and name not in found):
                raise ValueError(
                    f"{self.path}/config.json has {where}{name}={found.get(name)!r}, expected {value!r}: supported are "
                    f"{self.supported}"
                )

    @abstractmethod
    def llm_config(self, **settings: Any) -> PretrainedConfig:
        """Of the language model; ``settings`` replace what the folder says."""

    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The folder's own."""

    @abstractmethod
    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the encoder's class."""

    @abstractmethod
    def semantic_encoder_rules(self) -> list[TensorRule]:
        """From the folder's names to those of the encoder's class."""

    @abstractmethod
    def llm_rules(self) -> list[TensorRule]:
        """From the folder's names to those of the language model's class."""

    def rules(self) -> list[TensorRule]:
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
            model = self.llm_class(self.llm_config(**settings))
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
        # timm computes with values of the default device, which a meta tensor does not have.
        with torch.device("cpu"), init_empty_weights(include_buffers=False):
            encoder = self.encoder_class(**{**self.semantic_encoder_args(), **settings})
        if not is_meta_init():
            encoder.load_state_dict(self._read_weights(self.semantic_encoder_rules(), dtype), assign=True)
        return encoder.to(as_dtype(dtype))

    def _read_weights(self, rules: Sequence[TensorRule], dtype: str | torch.dtype) -> dict[str, Tensor]:
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
        config = self.llm_config(architectures=[self.llm_class.__name__])
        config.torch_dtype = dtype or folder.infos[llm_rules[0].source].dtype
        GenerationConfig.from_model_config(config).save_pretrained(out / "llm")
        config.save_pretrained(out / "llm")
        return unused
