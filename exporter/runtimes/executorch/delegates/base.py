"""What a delegate of ExecuTorch offers to the lowering."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from ...delegates import Delegate

if TYPE_CHECKING:
    from torch import nn


class ExecuTorchDelegate(Delegate):
    """A backend that ExecuTorch's partitioners give parts of the program to.

    Attributes:
        backend: The backend's id in a program, such as ``XnnpackBackend``.
    """

    backend: ClassVar[str]

    def adapt(self, model: Any) -> nn.Module:
        """Swap, in place, modules that the delegate can't take whole for ones that compute the same."""
        adapted: nn.Module = model
        return adapted

    @abstractmethod
    def partitioners(self, program: Any) -> list[Any]:
        """Return ExecuTorch partitioners for a ``torch.export.ExportedProgram``, the first choice first."""

    def patches(self) -> AbstractContextManager[Callable[[], Mapping[str, int]]]:
        """Return the patches to hold while the program is partitioned; entering them gives a count of what they did."""
        return nullcontext(dict)
