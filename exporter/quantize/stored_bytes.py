"""The bytes of a weight as a scheme stores it, and the tensor classes that sizes are reported by."""

from __future__ import annotations

from .recipe import Scheme

BITS = {"float32": 32, "int8": 8, "int4": 4}
# float32 per row; per group bfloat16, as XNNPACK keeps them (executorch 1.5,
# backends/xnnpack/operators/node_visitor.py).
SCALE_BYTES = 4
GROUP_SCALE_BYTES = 2
# What a module's name holds -> its tensor class.
_CLASSES = (("lm_head", "head"), (".self_attn.", "attention"), (".mlp.", "mlp"), (".experts.", "experts"))


def stored_bytes(rows: int, columns: int, scheme: Scheme) -> int:
    """Return the bytes of a weight [rows, columns] in a scheme, including its scales."""
    values = rows * columns * BITS[scheme.weight] // 8
    if scheme.weight == "float32":
        return values
    scales = rows * columns // scheme.group * GROUP_SCALE_BYTES if scheme.group else rows * SCALE_BYTES
    return values + scales


def tensor_class(name: str, gathered: bool) -> str:
    """Return the class of a module's weight; ``gathered`` is True for embeddings."""
    if gathered:
        return "per-layer embedding" if name.endswith("per_layer") else "embedding"
    for part, kind in _CLASSES:
        if part in name:
            return kind
    return "projection"
