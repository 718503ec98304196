"""A causal language model whose sequence interleaves text with image features.

Shape letters: B samples, L positions, H width (of embeddings: more with DeepStack, :mod:`lira_plugin.models.deep_stack`), V
vocabulary, n supervised positions.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.integrations import deepspeed as zero

from lira_plugin.distributed import mean_count
from lira_plugin.models.deep_stack import add_deep_stack, widen
from lira_plugin.models.generation import CompiledPass, HuggingFacePass, LlamaPass
from lira_plugin.models.generation.decoder_pass import short_sight
from lira_plugin.models.quantized_llm import quantize_llm
from lira_plugin.models.trainable import add_lora
from lira_plugin.registry import MODELS
from lira_plugin.settings import WrongSetting
from lira_plugin.structures import IGNORE_INDEX, ChatTemplate, TokenKind, build_template

_INPUTS = ("inputs_embeds", "attention_mask", "position_ids", "past_key_values", "cache_position")
"""What a causal LM's stack of layers has to take: embeddings, positions of their own, and a cache of another's making."""
_LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings by which some causal LMs change the logits behind their head."""


class LLMOutput(NamedTuple):
    """Result of a forward pass over a batch."""

    hidden: Tensor
    """(B, L, H) after the final norm."""
    loss: Tensor | None
    """Mean cross-entropy over the supervised positions of all training processes; an exact zero where this one has none."""


@MODELS.register_module()
class InterleavedLLM(nn.Module):
    """A Hugging Face causal LM, fed with text and features.

    Any that takes embeddings, positions and transformers' ``Cache``, and whose logits are what its head gives: Llama, InternLM2,
    Qwen2, Mistral, Phi, GPT-NeoX and most others.

    Args:
        llm: config of a causal LM, such as ``dict(type=AutoModelForCausalLM.from_pretrained, ...)`` or
            ``dict(type=AutoModelForCausalLM.from_config, config=dict(type=LlamaConfig, ...))``, or the model itself.
        vocabulary_size: the embedding is enlarged to it where it is smaller; new output rows are the mean of the old ones.
        first_new_token: with ``vocabulary_size``, the least id that the LLM has not learnt: it may have spare rows for new tokens
            already.
        lora: arguments of :class:`peft.LoraConfig`, or None.
        gradient_checkpointing: recompute activations in the backward pass.
        chat_template: how turns are written in text for this LLM (:class:`~lira_plugin.structures.ChatTemplate`, its arguments,
            its name, or the config of what makes it); the data take it from here. None leaves it to them.
        quantize: ``nf4`` to keep the weights under the adapters in 4 bits (QLoRA), once all of them are there.

    Raises:
        ValueError: the causal LM is none of these, or LoRA would leave the embeddings of new tokens untrained.
    """

    def __init__(
        self,
        llm: dict | PreTrainedModel,
        vocabulary_size: int | None = None,
        first_new_token: int | None = None,
        lora: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        chat_template: ChatTemplate | dict | str | None = None,
        quantize: str | None = None,
    ) -> None:
        super().__init__()
        if quantize not in (None, "nf4"):
            raise WrongSetting(f"quantize={quantize!r} cannot be trained: give 'nf4' with lora, or None")
        self.quantize = quantize
        made = isinstance(chat_template, dict) and "type" in chat_template
        self.chat_template = build_template(MODELS.build(chat_template) if made else chat_template)
        with _whole_weights():
            model = build_causal_lm(llm) if isinstance(llm, dict) else llm
            _check_causal_lm(model)
            self._untrained = 0
            if vocabulary_size is not None:
                added = vocabulary_size - (vocabulary_size if first_new_token is None else first_new_token)
                self._untrained = max(added, grow_vocabulary(model, vocabulary_size, first_new_token))
        model.config.use_cache = False
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.deep_stack_levels = add_deep_stack(model)
        self.model = model
        self.compiled_pass: CompiledPass | None = None
        if lora:
            self.add_lora(lora)

    @property
    def config(self) -> PretrainedConfig:
        """That of the causal LM."""
        return self.causal_lm.config

    def add_lora(self, lora: dict[str, Any]) -> None:
        """Put LoRA adapters around the LLM, once all of its weights are there.

        Args:
            lora: see :func:`~lira_plugin.models.trainable.add_lora`.

        Raises:
            ValueError: LoRA would leave the embeddings of new tokens untrained.
        """
        if self._untrained and not lora.get("train_embeddings"):
            raise ValueError(
                f"{self._untrained} special tokens are new to the LLM, and LoRA without train_embeddings=True would leave their "
                "random embeddings as they are; set it, or start from an LLM whose vocabulary has them"
            )
        self.model = add_lora(self.model, lora)
        if self.quantize:
            quantize_llm(self.causal_lm, self.quantize)

    def merge_lora(self) -> None:
        """Add the adapters to the weights that they adapt; what is left is a causal LM, to be trained or saved whole.

        Raises:
            ValueError: there are no adapters, one holds NaN or infinity, the head has one and is the embedding as well, or the
                weights are of 4 bits.
        """
        if self.quantize:
            raise ValueError(
                "weights of 4 bits cannot be merged with adapters: merge with the recipe without model.llm.quantize"
            )
        if not hasattr(self.model, "merge_and_unload"):
            raise ValueError("the LLM has no LoRA adapters to merge")
        if hasattr(self.causal_lm.get_output_embeddings(), "lora_A") and self.causal_lm.config.tie_word_embeddings:
            raise ValueError(
                "the head has an adapter and is tied to the embedding, which would change with it: set "
                "tie_word_embeddings=False in the LLM's config; the checkpoint has the weights of both and stays as it is"
            )
        self.model = self.model.merge_and_unload(progressbar=True, safe_merge=True).requires_grad_(True)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The causal LM, inside of PEFT's wrapper where there is one."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.causal_lm.config.hidden_size

    @property
    def input_size(self) -> int:
        """Width of what stands in front of the first layer: H, or more with DeepStack."""
        return (1 + self.deep_stack_levels) * self.hidden_size

    def embed(self, input_ids: Tensor) -> Tensor:
        """Text embeddings, (..., H)."""
        return widen(self.causal_lm.get_input_embeddings()(input_ids), self.input_size)

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits, (..., V), of hidden states (..., H)."""
        return self.causal_lm.get_output_embeddings()(hidden)

    def hidden_states(self, embeddings: Tensor, **kwargs: Any) -> Tensor:
        """Run the decoder stack over embeddings; ``kwargs`` go to the Hugging Face model (masks, positions, cache)."""
        return self.causal_lm.base_model(inputs_embeds=embeddings, **kwargs).last_hidden_state

    def cached_pass(self) -> HuggingFacePass | LlamaPass | CompiledPass:
        """What runs the decoder stack, as it is now, over the next positions of sequences whose earlier ones are in a cache.

        Raises:
            ValueError: the LLM is set to flash attention, which does not read what each position sees, and not like Llama.
        """
        if self.compiled_pass is not None:
            return self.compiled_pass
        decoder = self.causal_lm.base_model
        return LlamaPass(decoder) if LlamaPass.fits(decoder) else HuggingFacePass(decoder)

    def compile_pass(self, backend: str = "inductor") -> None:
        """Let :meth:`cached_pass` give a compiled pass of the decoder stack as it is now; it must not change any more."""
        self.compiled_pass = None
        self.compiled_pass = CompiledPass(self.cached_pass(), backend)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "InterleavedLLM":
        """Move and cast weights, and leave the frequencies of rotary positions exact, as published LLMs have them.

        DeepSpeed casts whole modules to 16 bits; rounded frequencies are off by radians after some thousand positions.
        """
        exact = [(module, module.inv_freq) for module in self.modules() if hasattr(module, "inv_freq")]
        super()._apply(fn, recurse)
        for module, frequencies in exact:
            if not frequencies.is_meta:
                module.inv_freq = frequencies.to(module.inv_freq.device)
        return self

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> LLMOutput:
        """Run over a padded batch.

        Args:
            embeddings: (B, L, H).
            attention_mask: (B, L) bool. A position that is cleared is neither attended to nor counted, so it is as good as
                absent, in the middle too.
            labels: (B, L); position i predicts ``labels[i + 1]``. Logits are computed for supervised positions only.
            position_ids: (B, L), or (axes, B, L) for an LLM whose rotary positions have several axes; by default those that are
                not cleared are counted.
        """
        decoder = self.causal_lm.base_model
        for module in decoder.modules():  # the stack in transformers 4.48, its layers in newer ones
            if getattr(module, "gradient_checkpointing", False):
                # They recompute in training mode alone; a frozen LLM is in evaluation mode, yet gradients pass through.
                module.training = torch.is_grad_enabled()
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        hidden = self.hidden_states(embeddings, attention_mask=attention_mask.long(), position_ids=position_ids)
        return LLMOutput(hidden, None if labels is None else self._loss(hidden, labels))

    def _loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        targets = labels[:, 1:]
        supervised = targets != IGNORE_INDEX
        logits = self.logits(hidden[:, :-1][supervised]).float()
        count = mean_count(len(logits), logits.device)
        if not len(logits):
            return logits.sum() + hidden.sum() * 0
        return F.cross_entropy(logits, targets[supervised], reduction="sum") / count


def scatter_features(
    embeddings: Tensor, kinds: Tensor, features: Mapping[TokenKind, Tensor], names: Sequence[str]
) -> Tensor:
    """Put features into the positions that wait for them.

    Args:
        embeddings: (B, L, H).
        kinds: (B, L) :class:`TokenKind`.
        features: for each kind (n, H), in row-major order of the sequences; they may be narrower where the LLM has DeepStack.
        names: of the B samples, for the message.

    Raises:
        ValueError: a kind has more or fewer positions than features; names the samples that hold it.
    """
    for kind, own in features.items():
        holds = kinds == kind
        expected = int(holds.sum())
        if expected != len(own):
            counts = holds.sum(1).tolist()
            holders = ", ".join(f"{name}: {count}" for name, count in zip(names, counts) if count) or "none"
            raise ValueError(
                f"the sequences have {expected} positions for {kind.name} features but {len(own)} features came "
                f"(positions of each sample: {holders}); check that VisualLayout of the data pipeline agrees with the model "
                "(docs/troubleshooting.md#counts-of-positions-and-features-differ)"
            )
        embeddings = embeddings.index_put(
            holds.nonzero(as_tuple=True), widen(own, embeddings.shape[-1]).to(embeddings.dtype)
        )
    return embeddings


def grow_vocabulary(model: PreTrainedModel, size: int, known: int | None = None, mean_embeddings: bool = False) -> int:
    """Enlarge embedding and head to ``size`` rows and return by how many.

    New rows of a head of its own become the mean of the old ones (``lira.py:280-282``); new input rows keep their random
    initialisation, so that no two tokens start alike, unless ``mean_embeddings`` asks for their mean too.

    Args:
        model: the LLM.
        size: rows wanted; more are kept.
        known: the first row of a new token, where there are spare rows already that no old token has; by default all are old.
        mean_embeddings: give the new input rows the mean of the old ones as well.
    """
    old = model.get_input_embeddings().num_embeddings
    if size > old:
        model.resize_token_embeddings(size, mean_resizing=False)
    weight, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    known = old if known is None else min(known, old)
    if head is not weight:
        fill_with_mean(head, known, size)
    if mean_embeddings:
        fill_with_mean(weight, known, size)
    return max(size - old, 0)


@torch.no_grad()
def fill_with_mean(weight: Tensor, known: int, size: int) -> None:
    """Set the rows from ``known`` to ``size`` to the mean of those before."""
    if size > known:
        weight[known:size] = (
            weight[:known].mean(0, dtype=torch.promote_types(weight.dtype, torch.float32)).to(weight.dtype)
        )


def tie_head(llm: PreTrainedModel) -> None:
    """Share the embedding with the head again where they are tied: without weights, each is given a parameter of its own."""
    if llm.config.tie_word_embeddings:
        head = llm.get_output_embeddings()
        getattr(head, "base_layer", head).weight = llm.get_input_embeddings().weight


def build_causal_lm(llm: dict) -> PreTrainedModel:
    """Build a causal LM from its config, in which ``config`` may be one too."""
    llm = dict(llm)
    if isinstance(llm.get("config"), dict):
        llm["config"] = MODELS.build(llm["config"])
    return MODELS.build(llm)


def _check_causal_lm(model: PreTrainedModel) -> None:
    taken = inspect.signature(model.base_model.forward).parameters
    if lacking := [name for name in _INPUTS if name not in taken]:
        raise ValueError(
            f"{type(model).__name__} cannot be interleaved: {type(model.base_model).__name__} takes no {', '.join(lacking)}; "
            "choose an LLM with transformers' Cache, such as Llama, Qwen2, Mistral or GPT-NeoX"
        )
    if changed := [name for name in _LOGIT_SETTINGS if getattr(model.config, name, None) not in (None, 1)]:
        raise ValueError(
            f"{type(model).__name__} changes the logits that its head gives ({', '.join(changed)}), which is not supported"
        )
    if setting := short_sight(model.config):
        raise ValueError(
            f"layers of {type(model).__name__} do not see all positions before their own ({setting}), which generation here "
            "does not know; set sliding_window=None, use_sliding_window=False in its config (what is shorter stays the same)"
        )


@contextmanager
def _whole_weights() -> Iterator[None]:
    """Let transformers build a whole model under ZeRO-3 too, for earlier stages and adapters are still to come.

    It would shard the weights while it makes them. DeepSpeed does that to the complete model anyway.
    """
    reference = zero._hf_deepspeed_config_weak_ref
    zero.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        zero._hf_deepspeed_config_weak_ref = reference
