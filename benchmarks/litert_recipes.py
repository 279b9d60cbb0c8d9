"""LiteRT's own recipes beside ours: what litert-torch's exporter has its quantizer do, done to our float program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gemcut.bundle.reader import Bundle
from gemcut.formats.litertlm import program_section

# Names that litert-torch's exporter takes: its default, and two with four bits. A recipe of several sections is made
# one, since a program of ours has them all.
RECIPES = ("dynamic_wi8_afp32", "dynamic_wi4_afp32", "gemma4_mixed48_b32")
_CHUNK = 1 << 24


def float_program(bundle: Bundle, out: Path) -> Path:
    """Writes the ``.tflite`` in a bundle whose weights are float32."""
    section = program_section(bundle.program)
    with bundle.program.open("rb") as source, out.open("wb") as sink:
        source.seek(section.begin)
        left = section.size
        while left:
            data = source.read(min(left, _CHUNK))
            sink.write(data)
            left -= len(data)
    return out


def programs(source: Path) -> Iterator[tuple[str, Path]]:
    """Each recipe's ``.tflite``, one at a time: it is deleted when the next is asked for."""
    from ai_edge_quantizer import recipe
    from ai_edge_quantizer.quantizer import Quantizer

    for name in RECIPES:
        found: Any = getattr(recipe, name)()
        rules = [rule for section in found.values() for rule in section] if isinstance(found, dict) else found
        quantizer = Quantizer(str(source))
        quantizer.load_quantization_recipe(rules)
        out = source.with_name("quantized.tflite")
        quantizer.quantize().export_model(str(out), overwrite=True)
        yield f"LiteRT {name}", out
        out.unlink()
