"""Memory of a training step on one GPU, and of answering, by arithmetic alone.

Weights, gradients and optimizer states are exact. Activations are those of the LLM, which dominate: frozen encoders keep nothing
for the backward pass, SEFE and the mask decoder keep some tens of megabytes. The CUDA context, communication buffers and
fragmentation (one to three gigabytes) come on top.

Symbols: L positions of a sequence, H width, K width of all key heads, F feed-forward width, V vocabulary, n supervised positions.
"""

from dataclasses import dataclass

from lira_plugin.models.quantized_llm import NF4_BYTES

BF16, FP32 = 2, 4


@dataclass(frozen=True)
class Precision:
    """Bytes a value takes: of any weight, of a trained weight's gradient, and of its optimizer states (AdamW)."""

    weight: int
    gradient: int
    optimizer: int


AMP = Precision(weight=FP32, gradient=FP32, optimizer=2 * FP32)
"""``AmpOptimWrapper``: fp32 weights, bf16 only inside of operators; two moments."""
DEEPSPEED = Precision(weight=BF16, gradient=BF16, optimizer=3 * FP32)
"""DeepSpeed in bf16: an fp32 copy of the trained weights beside the two moments."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def in_gb(self) -> dict[str, float]:
        """In 10^9 bytes, with the total."""
        names = ("weights", "gradients", "optimizer", "activations", "total")
        return {name: round(getattr(self, name) / 1e9, 3) for name in names}


@dataclass(frozen=True)
class ActivationShape:
    """What decides the activations of an LLM of Llama's kind.

    Args:
        layers: decoder layers.
        hidden: H.
        key_width: K.
        feed_forward: F.
        vocabulary: V.
        adapted: sum of the input widths of the linear layers of a decoder layer that have a LoRA adapter.
        checkpointing: keep the inputs of layers alone, and compute one layer at a time again.
    """

    layers: int
    hidden: int
    key_width: int
    feed_forward: int
    vocabulary: int
    adapted: int = 0
    checkpointing: bool = True

    def layer_bytes(self, positions: int) -> float:
        """What one layer keeps for the backward pass, with attention that keeps no score matrix.

        7 H: input, its norm, query, rotated query, attention output, residual, its norm; 3 K: key, rotated key, value; 4 F: gate,
        activated gate, up, their product. An adapter keeps its input after dropout, and the dropout mask as a byte a value.
        """
        kept = 7 * self.hidden + 3 * self.key_width + 4 * self.feed_forward
        return positions * (kept * BF16 + self.adapted * (BF16 + 1))

    def cache_bytes(self, positions: int) -> int:
        """Keys and values of ``positions`` while an answer is written."""
        return 2 * self.layers * self.key_width * positions * BF16

    def bytes(self, positions: int, supervised: int) -> float:
        """Of ``positions`` in all (those of a batch together), of which ``supervised`` have logits.

        Logits exist in bf16, in fp32 for the loss, and as a gradient.
        """
        logits = supervised * self.vocabulary * (BF16 + 2 * FP32)
        if not self.checkpointing:
            return self.layers * self.layer_bytes(positions) + logits
        inputs = self.layers * positions * self.hidden * BF16
        return inputs + max(self.layer_bytes(positions), logits)


def estimate_memory(
    total: int,
    trainable: int,
    precision: Precision,
    stage: int = 0,
    num_gpus: int = 1,
    activations: float = 0.0,
    quantized: int = 0,
) -> Memory:
    """Memory on one of ``num_gpus`` GPUs.

    Args:
        total: parameters.
        trainable: those that are trained.
        precision: bytes a value.
        stage: of ZeRO: 1 divides the optimizer states among the GPUs, 2 the gradients too, 3 the weights too; 0 divides nothing.
        num_gpus: that share the work.
        activations: bytes of one GPU's own batch.
        quantized: those of all parameters that are kept in ``nf4``.

    Raises:
        ValueError: no such stage, or no GPU.
    """
    if stage not in range(4) or num_gpus < 1:
        raise ValueError(f"stage must be 0, 1, 2 or 3 and num_gpus positive, got {stage} and {num_gpus}")
    share = [1 / num_gpus if stage >= first else 1.0 for first in (3, 2, 1)]
    return Memory(
        ((total - quantized) * precision.weight + quantized * NF4_BYTES) * share[0],
        trainable * precision.gradient * share[1],
        trainable * precision.optimizer * share[2],
        activations,
    )
