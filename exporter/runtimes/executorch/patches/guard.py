"""Context managers that patch ExecuTorch where it has no extension point, for the version they were written against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ....errors import LackingError
from ....util.packages import install_command

HOLDS_FOR = "1.5"


def require_version() -> str:
    """Return the installed ExecuTorch's version.

    Raises:
        LackingError: It isn't installed, or isn't the release that these patches were written for.
    """
    try:
        installed = version("executorch")
    except PackageNotFoundError as error:
        raise LackingError("executorch isn't installed.", hint=install_command("executorch")) from error
    if not installed.startswith(HOLDS_FOR + "."):
        raise LackingError(
            f"executorch {installed} is installed, but Gemcut's lowering needs {HOLDS_FOR}.x.",
            hint=install_command("executorch"),
        )
    return installed


@contextmanager
def replaced(module: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``module.name`` by ``wrap(original)`` within the block.

    Raises:
        LackingError: The name is gone, so upstream has changed.
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
    """Return ``module.name``, which a patch is about.

    Raises:
        LackingError: The name is gone, so upstream has changed.
    """
    found = getattr(module, name, None)
    if found is None:
        where = getattr(module, "__name__", type(module).__name__)
        raise LackingError(
            f"{where} no longer has {name}, so Gemcut's patch for executorch {HOLDS_FOR} doesn't apply.",
            hint=install_command("executorch"),
        )
    return found
