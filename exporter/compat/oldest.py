"""The oldest releases of ExecuTorch that load a program, judged also by what is inside its delegates' blobs."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnsupportedError
from . import facts
from .executorch import ExecuTorchReleases
from .needs import Requirement, read_executorch
from .verdict import oldest_release


def oldest_loading(program: Path, kernels: tuple[str, ...], delegates: tuple[str, ...]) -> str | None:
    """Return the oldest known release that has all that a ``.pte`` needs; None if no known release has.

    Args:
        program: The program's file.
        kernels: Names, with overload, of kernels that it calls outside delegates, besides those in the file.
        delegates: Names of backends, besides those in the file.

    Raises:
        ConformanceError: The file isn't such a program.
        LackingError: Python's flatbuffers isn't installed.
    """
    needs = set(read_executorch(program))
    needs |= {Requirement("operator", name) for name in kernels} | {Requirement("backend", name) for name in delegates}
    return oldest_release(ExecuTorchReleases(), None, tuple(sorted(needs)))


def refuse_nodes(program: Path, oldest: str) -> None:
    """Refuse a program whose XNNPACK blobs have nodes or data types that a release doesn't define.

    Args:
        program: A ``.pte``.
        oldest: A target's ``oldest_runtime.executorch``.

    Raises:
        UnsupportedError: It has some; the message names them, and the oldest release that has them all.
    """
    table = facts.xnnpack()
    nodes = sorted({need.name for need in read_executorch(program) if need.kind == "node"})
    lacking = [name for name in nodes if table.ask(name, oldest) == "no"]
    if not lacking:
        return
    newer = table.oldest_with(nodes)
    hint = (
        f"ExecuTorch {newer} takes all of them. If every app ships that release or a later one, use your own target "
        f'file (--target FILE.toml) with executorch = "{newer}" under [oldest_runtime].'
        if newer
        else "No known release takes all of them; please report it."
    )
    raise UnsupportedError(
        f"The XNNPACK delegate of ExecuTorch {oldest}, the target's oldest_runtime, refuses parts of the program "
        f"(error 0x11): {', '.join(lacking)}.",
        hint=hint,
    )
