"""Makes the lists under ``compat/versions`` from an installed ExecuTorch."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def installed() -> dict[str, list[str]]:
    """Return ``kernels`` and ``backends`` of the installed Python runtime, with the operator libraries loaded.

    Raises:
        LackingError: ExecuTorch isn't installed.
    """
    from .runner import load_kernels

    load_kernels()
    from executorch.runtime import Runtime

    runtime = Runtime.get()
    return {
        "kernels": sorted(runtime.operator_registry.operator_names),
        "backends": sorted(runtime.backend_registry.registered_backend_names),
    }


def file_text(source: str, facts: dict[str, list[str]], files: Iterable[Path]) -> str:
    """Return the content of a release's file.

    Args:
        source: Where the libraries come from, and how they were read.
        facts: ``kernels`` and ``backends``, as the libraries in ``files`` list them.
        files: The libraries.
    """
    lines = [f"source = {json.dumps(source)}"]
    for key in ("backends", "kernels"):
        lines += [f"{key} = [", *(f"    {json.dumps(name)}," for name in sorted(set(facts[key]))), "]"]
    hashes = {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines += ["", "[files]", *(f'"{name}" = "{sha256}"' for name, sha256 in sorted(hashes.items()))]
    return "\n".join(lines) + "\n"


def _main(arguments: Sequence[str]) -> None:
    source, *libraries = arguments
    if libraries:
        print(file_text(source, json.load(sys.stdin), map(Path, libraries)), end="")
        return
    import psutil

    facts = installed()
    mapped = {Path(each.path) for each in psutil.Process().memory_maps()}
    ours = [path for path in mapped if "executorch" in path.parts and path.suffix == ".so"]
    print(file_text(source, facts, ours), end="")


if __name__ == "__main__":
    _main(sys.argv[1:])
