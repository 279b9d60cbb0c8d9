"""The modules of Gemcut that a device's Python runs, as a package of their own without what they don't need."""

from __future__ import annotations

from pathlib import Path

from ... import __version__

PACKAGE = "gemcut"
GUEST = f"{PACKAGE}.devices.arm64.guest"
ENGINE = f"{PACKAGE}.runtimes.litert.engine_worker"

# What these two import, and nothing that needs more than Python and numpy (tested).
MODULES = (
    "errors.py",
    "util/progress.py",
    "util/arrays.py",
    "prove/runner.py",
    "prove/prompts.py",
    "prove/golden.py",
    "prove/run.py",
    "prompt/codec.py",
    "formats/litertlm.py",
    "runtimes/litert/engine_worker.py",
    "runtimes/litert/id_tokenizer.py",
    "runtimes/litert/signature_names.py",
    "runtimes/litert/runner.py",
    "runtimes/litert/version.py",
    "devices/wire.py",
    "devices/arm64/guest.py",
)


def write_package(folder: Path) -> None:
    """Copies ``MODULES`` below ``folder/gemcut``; the packages' own modules, which import runtimes, are left empty."""
    source = Path(__file__).parents[2]
    for name in MODULES:
        out = folder / PACKAGE / name
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes((source / name).read_bytes())
        for parent in list(out.parents)[: len(Path(name).parents)]:
            (parent / "__init__.py").touch()
    (folder / PACKAGE / "__init__.py").write_text(f'__version__ = "{__version__}"\n', encoding="utf-8")
