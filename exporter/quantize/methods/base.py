"""What every quantization method offers: one module each in this package, and one row in its registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch

    from ...util.file_tensors import Scratch
    from ..recipe import Scheme

# Bits of a stored value.
BITS = {"int8": 8, "int4": 4}
# Elements that are float32 at a time while a matrix is quantized: 16 MB.
PIECE = 1 << 22


class QuantizationMethod(ABC):
    """How a weight's values and scales are chosen for a scheme.

    Attributes:
        name: What the method is called in the registry.
        requires_calibration: It needs statistics of a weight's inputs (``calibrate``).
        requires_hessian: Among them the second moments of all pairs of inputs, not of each input alone.
    """

    name: ClassVar[str]
    requires_calibration: ClassVar[bool] = False
    requires_hessian: ClassVar[bool] = False

    @abstractmethod
    def quantize(
        self, weight: torch.Tensor, scheme: Scheme, statistics: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize a weight.

        Args:
            weight: The weight, [N, K] of any float dtype.
            scheme: An 'int8' or 'int4' scheme.
            statistics: What the method has observed of the weight's inputs; None without calibration.

        Returns:
            Values, int8 [N, K] in -2^(bits-1) .. 2^(bits-1) - 1, and scales, float32 [N, K / group] (one per row if the
            scheme has no groups).
        """

    def quantize_rows(
        self, weight: torch.Tensor, scheme: Scheme, scratch: Scratch, statistics: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize a weight some rows at a time into ``scratch``, so that the float32 matrix is never whole in memory.

        For methods in which rows don't depend on one another; others override it.

        Args:
            weight: The weight, [N, K] of any float dtype.
            scheme: An 'int8' or 'int4' scheme.
            scratch: Takes the values.
            statistics: As for ``quantize``.

        Returns:
            What ``quantize`` returns, to the bit.
        """
        import torch

        count, columns = weight.shape
        values = scratch.empty((count, columns), torch.int8)
        scales = scratch.empty((count, columns // scheme.group if scheme.group else 1), torch.float32)
        rows = max(1, PIECE // columns)
        for first in range(0, count, rows):
            part = slice(first, first + rows)
            values[part], scales[part] = self.quantize(weight[part], scheme, statistics)
        return values, scales
