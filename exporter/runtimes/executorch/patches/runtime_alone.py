"""Imports ExecuTorch's runtime without its exporter.

In ExecuTorch 1.5 ``executorch.runtime`` imports one class of warnings from ``executorch.exir``, and so the whole
exporter: most of what starting a program costs. The operator library's Python module imports torch's Inductor, for its
shape functions, which only a trace needs. ``python -m benchmarks.start`` measures what both cost.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ....errors import LackingError
from ....util.packages import install_command
from .guard import HOLDS_FOR, require_version

_EXPORTER = "executorch.exir"


@contextmanager
def exporter_left_out() -> Iterator[None]:
    """Let ``import executorch.runtime`` take what it needs of the exporter, and nothing else, within the block.

    The exporter can be imported afterwards. Nothing is done if it is imported already.

    Raises:
        LackingError: The installed ExecuTorch isn't the release that this was written for.
    """
    require_version()
    spec = None if _EXPORTER in sys.modules else importlib.util.find_spec(_EXPORTER)
    if spec is None:
        yield
        return
    package = ModuleType(_EXPORTER)
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[_EXPORTER] = package
    try:
        yield
    finally:
        for name in [each for each in sys.modules if each == _EXPORTER or each.startswith(_EXPORTER + ".")]:
            del sys.modules[name]


def operator_library(package: str) -> Path:
    """Return the library of operators that one of ExecuTorch's packages holds.

    Args:
        package: Such as ``executorch.kernels.quantized``.

    Raises:
        LackingError: There isn't exactly one.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    found = [path for folder in folders for path in folder.glob("lib*_ops_aot_lib.*")]
    if len(found) != 1:
        raise LackingError(
            f"{package} has {len(found)} operator libraries, but Gemcut's runner for executorch {HOLDS_FOR} expects 1.",
            hint=install_command("executorch"),
        )
    return found[0]
