"""Upstream's own export of a checkpoint to a ``.litertlm``, as ``benchmarks.litert`` times it.

``litert_torch.generative.export_hf.export.export``, called as a user would call it, and nothing of Gemcut: its
default recipe, and its default lengths where none are given.

    python -m benchmarks.litert_upstream CHECKPOINT OUT.litertlm [--prefill N]... [--cache N]
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .common import BenchmarkError, Command, run_module

# What the default call lacks to get through at all, by model type; litert-torch 0.10.0. transformers asks every
# model for its experts' implementation, which upstream's class of this text model can't answer; eager isn't asked.
NEEDED: dict[str, dict[str, str]] = {"gemma4_text": {"moe_exports_implementation": "eager"}}
PRODUCT = "model.litertlm"
_STUB = "tensorflow/lite/python"
_SCHEMA = "from ai_edge_litert.schema_py_generated import *\n"


@dataclass(frozen=True)
class Lengths:
    """Tokens of each prefill signature, ascending, and slots of the KV cache."""

    prefill: tuple[int, ...]
    cache: int


@contextmanager
def tensorflow_stub() -> Iterator[dict[str, str]]:
    """Environment variables for a child process in which upstream's undeclared ``tensorflow`` import works.

    litert-torch 0.10.0 imports ``tensorflow.lite.python.schema_py_generated`` and doesn't require TensorFlow;
    ai-edge-litert has the same generated schema. Where TensorFlow is installed nothing is set, so that it is what
    the child imports; where it isn't, a package of that one module lies in a temporary folder meanwhile.
    """
    found = importlib.util.find_spec("tensorflow")
    if found is not None and found.origin is not None:  # A folder without __init__.py is no TensorFlow.
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="gemcut-benchmark-stub-") as name:
        package = Path(name, _STUB)
        package.mkdir(parents=True)
        for folder in (package, *package.parents[:2]):
            (folder / "__init__.py").touch()
        (package / "schema_py_generated.py").write_text(_SCHEMA, encoding="utf-8")
        before = os.environ.get("PYTHONPATH")
        yield {"PYTHONPATH": os.pathsep.join([name, before] if before else [name])}


def export_upstream(
    checkpoint: Path, out: Path, prefill: Sequence[int] = (), cache: int | None = None, recipe: str | None = None
) -> dict[str, Any]:
    """One export in a process of its own, which writes ``out``; nothing else is left beside it.

    Args:
        prefill: tokens of each prefill signature; none for upstream's default.
        cache: slots of the KV cache; None for upstream's default.
        recipe: upstream's name of one; None for its default.

    Returns:
        ``seconds`` by part (imports, export), ``wall`` seconds of the whole process, ``peak_memory`` in bytes, the
        ``recipe`` that was used, and the arguments that were ``needed`` beside the defaults.

    Raises:
        BenchmarkError: Upstream failed; the message ends with what it said last.
        LackingError: The process was killed, most likely for memory.
    """
    words: list[object] = [checkpoint, out]
    for length in prefill:
        words += ["--prefill", length]
    if cache is not None:
        words += ["--cache", cache]
    if recipe is not None:
        words += ["--recipe", recipe]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, tensorflow_stub() as environment:
        quiet = {"TMPDIR": folder, "HF_HUB_OFFLINE": "1"}  # It leaves files behind when it fails.
        began = time.perf_counter()
        said = run_module("benchmarks.litert_upstream", words, "upstream's export", {**environment, **quiet})
        wall = time.perf_counter() - began
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {**found, "wall": wall}


def export_here(checkpoint: Path, out: Path, given: dict[str, Any]) -> dict[str, Any]:
    """One export in this process; ``given`` are upstream's keyword arguments, its own defaults where empty."""
    began = time.perf_counter()
    from litert_torch.generative.export_hf.core.exportable_module_config import ExportableModuleConfig
    from litert_torch.generative.export_hf.export import export

    imports = time.perf_counter() - began
    kind = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["model_type"]
    needed = NEEDED.get(kind, {})
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        export(model=str(checkpoint), output_dir=folder, **given, **needed)
        product = Path(folder, PRODUCT)
        if not product.is_file():
            raise BenchmarkError(f"upstream's export ended well and wrote no {PRODUCT}")
        shutil.move(product, out)
        seconds = time.perf_counter() - began
    used = ExportableModuleConfig(model=str(checkpoint), **given, **needed)
    recipe = used.quantization_recipe
    return {"seconds": {"imports": imports, "export": seconds}, "recipe": recipe, "needed": needed}


def lengths_of(file: Path) -> Lengths:
    """The lengths of a ``.litertlm``, read off the shapes of its program's signatures; nothing is run.

    Signatures are named as LiteRT-LM's engine looks for them: ``prefill_N``, with tokens [1, N], and ``decode``, whose
    mask [1, 1, 1, slots] is as wide as the cache.

    Raises:
        ConformanceError: The file is no ``.litertlm``, or has no such program.
    """
    from ai_edge_litert.schema_py_generated import Model
    from gemcut.formats.litertlm import mapped, program_section

    with mapped(file, program_section(file)) as view:
        model = Model.GetRootAs(view, 0)
        shapes = {}
        for index in range(model.SignatureDefsLength()):
            signature = model.SignatureDefs(index)
            graph = model.Subgraphs(signature.SubgraphIndex())
            inputs = [signature.Inputs(number) for number in range(signature.InputsLength())]
            tensors = {entry.Name().decode(): graph.Tensors(entry.TensorIndex()) for entry in inputs}
            shapes[signature.SignatureKey().decode()] = {
                name: tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
                for name, tensor in tensors.items()
            }
    prefill = sorted(inputs["tokens"][1] for name, inputs in shapes.items() if name.startswith("prefill"))
    return Lengths(tuple(prefill), shapes["decode"]["mask"][-1])


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--prefill", type=click.IntRange(min=1), multiple=True, help="Tokens of a prefill signature.")
@click.option("--cache", type=click.IntRange(min=1), help="Slots of the KV cache.")
@click.option("--recipe", help="Upstream's name of a quantization recipe.")
def main(checkpoint: Path, out: Path, prefill: tuple[int, ...], cache: int | None, recipe: str | None) -> None:
    """Export CHECKPOINT to OUT by upstream's own export_hf; the last line of stdout is JSON."""
    from gemcut.util.process_memory import peak_memory

    given: dict[str, Any] = {}
    if prefill:
        given["prefill_lengths"] = list(prefill)
    if cache is not None:
        given["cache_length"] = cache
    if recipe is not None:
        given["quantization_recipe"] = recipe
    found = export_here(checkpoint, out, given)
    print(json.dumps({**found, "peak_memory": peak_memory()}), flush=True)


if __name__ == "__main__":
    main()
