"""Which stored forms of a weight XNNPACK and ExecuTorch's own kernels take."""

from __future__ import annotations

from .....errors import UnsupportedError
from .....quantize.recipe import Scheme


def check_scheme(scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
    """Check that ExecuTorch takes a weight in this scheme.

    Args:
        scheme: The scheme that the recipe gives the weight.
        columns: Elements of a row: the reduction dimension of a linear, the width of an embedding.
        name: The module's name, for the message.
        gathered: Whether the weight is an embedding.

    Raises:
        UnsupportedError: It doesn't; the message names the weight and what would fit.
    """
    if gathered and scheme.weight != "float32" and (scheme.weight != "int8" or scheme.group):
        asked = f"{scheme.weight} in groups of {scheme.group}" if scheme.group else scheme.weight
        raise UnsupportedError(
            f"{name}: ExecuTorch takes embeddings as float32 or as int8 with one scale per row, not as {asked}.",
            hint="Change the recipe's rule for this embedding.",
        )
    if scheme.group and columns % scheme.group:
        fits = [g for g in (128, 64, 32) if columns % g == 0]
        says = f"Groups of {fits[0]} would fit." if fits else "Give it a scheme with one scale per row (group = 0)."
        raise UnsupportedError(
            f"{name} has {columns} columns, which groups of {scheme.group} don't divide.",
            hint=f"{says} Put a rule for it in the recipe, above the one that matches now.",
        )
