"""LiteRT's own recipes beside ours: the same weights through litert-torch's own exporter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .litert_upstream import export_upstream

# Names that litert-torch's exporter takes: its default, and two with four bits.
RECIPES = ("dynamic_wi8_afp32", "dynamic_wi4b32_afp32", "dynamic_wi4_afp32")


def programs(checkpoint: Path, folder: Path, context: int) -> Iterator[tuple[str, Path]]:
    """Each recipe's ``.litertlm``, one at a time: it is deleted when the next is asked for.

    Args:
        checkpoint: The weights.
        folder: Takes the file.
        context: Slots of the KV cache.

    Raises:
        BenchmarkError: Upstream failed.
    """
    for name in RECIPES:
        out = folder / "upstream.litertlm"
        export_upstream(checkpoint, out, (8,), context, name)
        yield f"LiteRT {name}", out
        out.unlink()
