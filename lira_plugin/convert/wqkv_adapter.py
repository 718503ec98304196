"""The LoRA adapter of InternLM2's fused ``wqkv`` and those of query, key and value: each as the other, exactly."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lira_plugin.convert.decoder_rules import AttentionShape, join_wqkv, split_wqkv
from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.convert.tensor_rules import TensorRule

Parts = tuple[Tensor, ...]


def wqkv_adapter(base: InternVLCheckpoint, source: str, target: str, rank: int, wqkv_rank: int) -> list[TensorRule]:
    """Rules for both matrices.

    Of the same ``rank``, the fused adapter shares its matrix A, (rank, H), among the three. Of three times the rank, it is
    *stacked*: A is that of query, key and value on top of each other, and of B, (fused rows, 3 * rank), the rows of each have
    only the columns of its own.

    Args:
        base: tells how the fused rows are grouped.
        source: name of the fused layer.
        target: prefix of ``q_proj``, ``k_proj`` and ``v_proj``.
        rank: of the three adapters.
        wqkv_rank: of the fused one.
    """
    stacked = wqkv_rank == 3 * rank
    shape = AttentionShape.of(base.llm)
    grouping = {"kv_heads": shape.kv_heads, "queries": shape.queries}
    split, join = partial(split_wqkv, **grouping), partial(join_wqkv, **grouping)
    names_a, names_b = (tuple(f"{target}{part}_proj.lora_{name}.default.weight" for part in "qkv") for name in "AB")
    name_a, name_b = (f"{source}.lora_{name}.default.weight" for name in "AB")
    fused_rank = 3 * rank if stacked else rank
    if stacked:
        split_a, join_a = partial(torch.chunk, chunks=3), torch.cat
        split_b, join_b = lambda fused: _own_columns(split(fused), name_b), lambda parts: join(_blocks(parts))
    else:
        split_a, join_a, split_b, join_b = _three_times, _common, split, join
    return [
        TensorRule(name_a, (fused_rank, base.llm["hidden_size"]), names_a, split_a, join_a),
        TensorRule(name_b, (shape.fused_rows, fused_rank), names_b, split_b, join_b),
    ]


def _three_times(tensor: Tensor) -> Parts:
    return tensor, tensor, tensor


def _common(parts: Sequence[Tensor]) -> Tensor:
    first, *others = parts
    if not all(torch.equal(first, other) for other in others):
        raise ValueError(
            "the matrices differ, and the fused wqkv has one for all three: write an adapter of three times the rank "
            "(--stack), or train with shared_inputs=['q_proj', 'k_proj', 'v_proj'], which keeps them equal"
        )
    return first


def _blocks(parts: Sequence[Tensor]) -> Parts:
    """(rows, rank) each to (rows, 3 * rank), with zeros in the columns of the others."""
    rank = parts[0].shape[1]
    return tuple(F.pad(part, (index * rank, (2 - index) * rank)) for index, part in enumerate(parts))


def _own_columns(parts: Sequence[Tensor], name: str) -> Parts:
    """Undo :func:`_blocks`."""
    columns = [part.chunk(3, dim=1) for part in parts]
    others = [blocks[other] for own, blocks in enumerate(columns) for other in range(3) if other != own]
    if not others[0].is_meta and any(block.any() for block in others):
        raise ValueError(
            f"{name} mixes the columns of query, key and value: it is no stack of three adapters, as export_lira writes it"
        )
    return tuple(blocks[index] for index, blocks in enumerate(columns))
