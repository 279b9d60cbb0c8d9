"""The places where ExecuTorch has no extension point, each a context manager bound to the version it was read in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ....errors import LackingError

HOLDS_FOR = "1.5"


def require_version() -> str:
    """Returns the installed ExecuTorch's version.

    Raises:
        LackingError: it is another release than the one these patches were written for.
    """
    try:
        installed = version("executorch")
    except PackageNotFoundError as error:
        raise LackingError("executorch isn't installed.", hint="pip install 'gemcut[executorch]'") from error
    if not installed.startswith(HOLDS_FOR + "."):
        raise LackingError(
            f"executorch {installed} is installed; Gemcut's lowering holds for {HOLDS_FOR}.x.",
            hint="pip install 'gemcut[executorch]'",
        )
    return installed


@contextmanager
def replaced(module: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Replaces ``module.name`` by ``wrap(original)`` for the time of the block.

    Raises:
        LackingError: the name is gone, so upstream moved.
    """
    require_version()
    original = present(module, name)
    own = vars(module).get(name)  # as it was written: a static method is one still
    setattr(module, name, wrap(original))
    try:
        yield
    finally:
        if own is None:
            delattr(module, name)  # it was inherited
        else:
            setattr(module, name, own)


def present(module: Any, name: str) -> Any:
    """``module.name``, which a patch is about.

    Raises:
        LackingError: the name is gone, so upstream moved.
    """
    found = getattr(module, name, None)
    if found is None:
        where = getattr(module, "__name__", type(module).__name__)
        raise LackingError(
            f"{where} has no {name} any more: Gemcut's patch for executorch {HOLDS_FOR} does not fit.",
            hint="pip install 'gemcut[executorch]'",
        )
    return found
