"""LiteRT's own recipes beside ours: what litert-torch's exporter does with a float program, done to the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gemcut.bundle.reader import Bundle
from gemcut.formats.litertlm import program_section

# Names that litert-torch's exporter takes: its default, and the two with four bits.
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
    from litert_torch.generative.export_hf.core.export_lib import quantize_model

    for name in RECIPES:
        made = Path(quantize_model(str(source), name))
        yield f"LiteRT {name}", made
        made.unlink()
