"""What the inputs of a matrix product are like: their second moments, and some of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

# Inputs that are kept as they are, to try quantized activations on.
SAMPLES = 192
_SMALLEST = 1e-12
_ROWS = 1024  # inputs that are weighted at a time, and rows that are reversed: all are hundreds of megabytes


@dataclass(eq=False)
class InputStatistics:
    """The inputs of a product, over all tokens of the calibration text.

    Attributes:
        hessian: The sum of the inputs' outer products, float32 [K, K]; where no method needs it, its diagonal, [K].
        rows: How many inputs there were, each by its weight.
        samples: Some of them, float32 [n, K].
    """

    hessian: torch.Tensor
    rows: float = 0.0
    samples: list[torch.Tensor] = field(default_factory=list)
    _factor: dict[float, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: int, whole: bool = True) -> InputStatistics:
        """Return statistics of no inputs yet.

        Args:
            columns: K.
            whole: Whether to keep the whole Hessian, not its diagonal alone.
        """
        with torch.inference_mode(False):  # where the model runs in it, the sums must stay changeable
            return cls(torch.zeros(columns, columns) if whole else torch.zeros(columns))

    @property
    def columns(self) -> int:
        """K."""
        return len(self.hessian)

    @property
    def importance(self) -> torch.Tensor:
        """The mean square of each input, float32 [K]."""
        diagonal = self.hessian.diagonal() if self.hessian.dim() == 2 else self.hessian
        return diagonal / max(self.rows, 1.0)

    @property
    def rms(self) -> torch.Tensor:
        """The root mean square of each input, float32 [K]."""
        return self.importance.clamp(min=_SMALLEST).sqrt()

    def add(self, inputs: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Count inputs.

        Args:
            inputs: float32 [rows, K].
            weights: How much each counts, [rows]; None for 1.
        """
        for first in range(0, len(inputs), _ROWS):
            rows = slice(first, first + _ROWS)
            weighted = inputs[rows] if weights is None else inputs[rows] * weights[rows].sqrt()[:, None]
            if self.hessian.dim() == 2:
                self.hessian.addmm_(weighted.t(), weighted)
            else:
                self.hessian.add_(weighted.square().sum(0))
        self.rows += float(len(inputs) if weights is None else weights.sum())
        held = sum(map(len, self.samples))
        if held < SAMPLES:
            step = max(1, len(inputs) // (SAMPLES - held))
            self.samples.append(inputs[::step][: SAMPLES - held].clone())

    def sample(self) -> torch.Tensor:
        """Return the inputs that were kept, float32 [n, K]."""
        return torch.cat(self.samples) if self.samples else torch.zeros(0, self.columns)

    def divide(self, scale: torch.Tensor) -> None:
        """Make these the statistics of inputs that are divided by ``scale`` [K]."""
        self.hessian.div_(scale).div_(scale[:, None] if self.hessian.dim() == 2 else scale)
        self.samples = [each / scale for each in self.samples]
        self._factor.clear()

    def copy(self) -> InputStatistics:
        """Return the same statistics, to be divided apart."""
        return InputStatistics(self.hessian.clone(), self.rows, list(self.samples))

    def energy(self, rows: torch.Tensor) -> float:
        """Return the sum of the squares of what rows make of the inputs; of their diagonal if that is all there is.

        Args:
            rows: float32 [N, K], such as what rounding has done to some rows of a weight.
        """
        if self.hessian.dim() == 1:
            return float((rows.square() @ self.hessian).sum())
        return float(((rows @ self.hessian) * rows).sum())

    def factor(self, damping: float) -> torch.Tensor:
        """Return the upper Cholesky factor of the inverse of the damped Hessian, float32 [K, K].

        With rows and columns in reverse order, the Hessian is L L'; the factor is the inverse of L, in reverse order
        again. That takes half as long as inverting the Hessian.

        Args:
            damping: Share of the mean of the diagonal that is added to it.
        """
        if damping not in self._factor:
            # Each of these is hundreds of megabytes for a wide layer.
            hessian = (self.hessian.double() if self.columns <= 1024 else self.hessian).flip(0, 1)
            diagonal = hessian.diagonal()
            dead = diagonal <= 0
            mean = float(diagonal.mean()) or 1.0
            diagonal[dead] = mean
            diagonal.add_(damping * mean)
            torch.linalg.cholesky(hessian, out=hessian)
            inverse = torch.eye(self.columns, dtype=hessian.dtype)
            torch.linalg.solve_triangular(hessian, inverse, upper=False, out=inverse)
            del hessian
            _reverse(inverse)
            self._factor[damping] = inverse.float()
        return self._factor[damping]


def _reverse(matrix: torch.Tensor) -> None:
    """Reverse the order of a square matrix's rows and of its columns, in place."""
    count = len(matrix)
    for first in range(0, count // 2, _ROWS):
        end = min(first + _ROWS, count // 2)
        above, below = matrix[first:end].flip(0, 1), matrix[count - end : count - first].flip(0, 1)
        matrix[first:end], matrix[count - end : count - first] = below, above
    if count % 2:
        matrix[count // 2] = matrix[count // 2].flip(0)
