"""Which stored forms of a weight XNNPACK and ExecuTorch's own kernels take."""

from __future__ import annotations

from .....errors import UnsupportedError
from .....quantize.recipe import Scheme

# Weight formats of embeddings, and whether they have groups. int4 with one scale per row is left out: of Gemma 3 270M's
# embedding alone it costs 0.33 nats, groups of 32 cost 0.04.
_GATHERED = {("float32", False), ("int8", False), ("int4", True)}


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
    if gathered and (scheme.weight, bool(scheme.group)) not in _GATHERED:
        asked = f"{scheme.weight} in groups of {scheme.group}" if scheme.group else f"{scheme.weight} without groups"
        raise UnsupportedError(
            f"{name}: an embedding can be float32, int8 with one scale per row, or int4 in groups, not {asked}.",
            hint="Change the recipe's rule for this embedding.",
        )
    if scheme.group and columns % scheme.group:
        fits = [g for g in (128, 64, 32) if columns % g == 0]
        says = f"Groups of {fits[0]} would fit." if fits else "Give it a scheme with one scale per row (group = 0)."
        raise UnsupportedError(
            f"{name} has {columns} columns, which groups of {scheme.group} don't divide.",
            hint=f"{says} Put a rule for it in the recipe, above the one that matches now.",
        )
