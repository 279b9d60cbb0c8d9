"""The oldest releases of ExecuTorch that load a program, by what is inside its delegates' blobs as well."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnsupportedError
from . import facts
from .executorch import ExecuTorchReleases
from .needs import Requirement, read_executorch
from .verdict import oldest_release


def oldest_loading(program: Path, kernels: tuple[str, ...], delegates: tuple[str, ...]) -> str | None:
    """The oldest known release that has all that a ``.pte`` needs; None where none is known to.

    Args:
        program: its file.
        kernels: names with overload that it calls outside delegates, beside those in the file.
        delegates: names of backends, beside those in the file.

    Raises:
        ConformanceError: the file is no such program.
        LackingError: Python's flatbuffers isn't installed.
    """
    needs = set(read_executorch(program))
    needs |= {Requirement("operator", name) for name in kernels} | {Requirement("backend", name) for name in delegates}
    return oldest_release(ExecuTorchReleases(), None, tuple(sorted(needs)))


def refuse_nodes(program: Path, oldest: str) -> None:
    """Refuses a program whose XNNPACK blobs have nodes or data types that a release doesn't define.

    Args:
        program: a ``.pte``.
        oldest: a target's ``oldest_runtime.executorch``.

    Raises:
        UnsupportedError: with the names, and the oldest release that has them all.
    """
    table = facts.xnnpack()
    nodes = sorted({need.name for need in read_executorch(program) if need.kind == "node"})
    lacking = [name for name in nodes if table.ask(name, oldest) == "no"]
    if not lacking:
        return
    newer = table.oldest_with(nodes)
    hint = (
        f"ExecuTorch {newer} takes them all: where every app ships that or a later one, take a target file of your own "
        f'(--target FILE.toml) with executorch = "{newer}" under [oldest_runtime].'
        if newer
        else "Nor does any release that is known: please report it."
    )
    raise UnsupportedError(
        f"The XNNPACK delegate of ExecuTorch {oldest}, the target's oldest_runtime, refuses what the program has "
        f"(error 0x11): {', '.join(lacking)}.",
        hint=hint,
    )
