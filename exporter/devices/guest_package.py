"""The modules that a device's Python runs, as separate packages without anything that they don't need."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import __version__


def write_package(modules: Sequence[str], folder: Path) -> None:
    """Copy modules, and everything that they import from their own packages, below ``folder``.

    Only imports at the top of a module count, outside ``if TYPE_CHECKING``. The packages' own ``__init__`` modules,
    which import runtimes, are left empty.

    Args:
        modules: Dotted names, such as ``gemcut.runtimes.litert.golden_runner``.
        folder: The destination, which is created.
    """
    for name, source in sorted(closure(modules).items()):
        out = folder / Path(*name.split(".")).with_suffix(".py")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(source.read_bytes())
        for depth in range(1, name.count(".") + 1):
            (folder / Path(*name.split(".")[:depth]) / "__init__.py").touch()
    own = folder / __name__.partition(".")[0] / "__init__.py"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(f'__version__ = "{__version__}"\n', encoding="utf-8")


def closure(modules: Sequence[str]) -> dict[str, Path]:
    """Return each module that these import from their own packages, themselves included: name -> file."""
    roots = {name.partition(".")[0] for name in modules}
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [other for other in _imports(name, path) if other.partition(".")[0] in roots]
    return found


def _source(name: str) -> Path | None:
    """The file of a module; None for a package, and for anything that isn't a module."""
    top, _, rest = name.partition(".")
    spec = importlib.util.find_spec(top)  # only of the top: looking for a submodule would import its packages
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(root, *rest.split(".")).with_suffix(".py")
        if rest and path.is_file():
            return path
    return None


def _imports(name: str, path: Path) -> Iterator[str]:
    package = name.split(".")[:-1]
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)
