"""What is known about ExecuTorch's releases."""

from __future__ import annotations

from collections.abc import Mapping

from . import facts
from .facts import Package, Table
from .needs import Kind, Requirement
from .releases import ReleaseFacts

# What ExecuTorch does if it lacks a requirement; error numbers are those of runtime/core/error.h.
_WHY: dict[Kind, str] = {
    "schema": "the program is refused as invalid (error 0x23)",
    "operator": "the program is refused when it is loaded (error 0x14)",
    "backend": "the program is refused when it is loaded (error 0x20)",
    "node": "the XNNPACK delegate refuses its blob when the program is loaded (error 0x11)",
}


class ExecuTorchReleases(ReleaseFacts):
    """See ``ReleaseFacts``."""

    library_marks = (b"executorch_prim::",)  # a built-in operator's name
    loads_library = True
    package_example = "executorch-android==1.1.0"
    gradle_alias = "executorch"

    def packages(self) -> Mapping[str, Package]:
        """See ``ReleaseFacts``."""
        return {name: each for name, each in facts.packages().items() if each.runtime == "executorch"}

    def tables(self, package: str | None) -> dict[Kind, Table]:
        """See ``ReleaseFacts``."""
        return {
            "schema": facts.program_schemas(),
            "backend": facts.backends(package),
            "operator": facts.kernels(),
            "node": facts.xnnpack(),
        }

    def table_for(self, tables: dict[Kind, Table], need: Requirement) -> Table | None:
        """See ``ReleaseFacts``: XNNPACK's file identifiers are kept with its nodes."""
        return tables.get("node" if _is_xnnpack(need) else need.kind)

    def why(self, need: Requirement) -> str:
        """See ``ReleaseFacts``."""
        if _is_xnnpack(need):
            return "the XNNPACK delegate refuses its blob when the program is loaded (error 0x30)"
        return _WHY.get(need.kind, super().why(need))

    def oldest_target(self) -> str | None:
        """See ``ReleaseFacts``: where the lists of kernels begin."""
        return facts.kernels().known[0].version


def _is_xnnpack(need: Requirement) -> bool:
    return need.kind == "schema" and need.name.startswith("XN")
