"""Which stored forms LiteRT's kernels take, so that a recipe which they would ignore is refused before any work."""

from __future__ import annotations

from ...errors import UnsupportedError
from ...quantize.recipe import Scheme

# XNNPACK's blockwise kernels (qd8-f32-qb4w) take multiples of 32; ai-edge-quantizer 0.10 makes these.
GROUPS = (32, 64, 128, 256)


def check_scheme(scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
    """Check that LiteRT multiplies by, or gathers from, a weight in this scheme.

    Args:
        scheme: The scheme that the recipe gives the weight.
        columns: Elements of a row: the reduction dimension of a linear, the width of an embedding.
        name: The module's name, for the message.
        gathered: Whether the weight is an embedding.

    Raises:
        UnsupportedError: It doesn't; the message names the weight and what would fit.
    """
    if scheme.weight == "float32":
        return
    if scheme.weight == "int4" and columns % 2:
        raise _refused(name, f"has {columns} columns, but int4 needs an even number", "Use int8.")
    if scheme.group and scheme.weight != "int4":
        raise _refused(
            name,
            f"is to be stored as {scheme.weight} in groups of {scheme.group}: LiteRT has no kernel for that and would "
            "leave the weight unquantized",
            "Use groups only with int4; with int8 use one scale per row (group = 0).",
        )
    if scheme.group and scheme.group not in GROUPS:
        sizes = ", ".join(map(str, GROUPS))
        raise _refused(
            name,
            f"is to be stored in groups of {scheme.group}, but LiteRT's kernels take only {sizes}",
            "Use one of these sizes.",
        )
    if scheme.group and columns % scheme.group:
        fits = [g for g in reversed(GROUPS) if columns % g == 0]
        hint = f"Groups of {fits[0]} would fit." if fits else "Use one scale per row (group = 0)."
        raise _refused(name, f"has {columns} columns, which groups of {scheme.group} don't divide", hint)
    if not gathered and scheme.activation != "int8-dynamic":
        raise _refused(
            name,
            f"is to be stored as {scheme.weight} with float32 activations: LiteRT's kernels quantize activations to "
            "int8 whenever weights are integers",
            'Set activation = "int8-dynamic".',
        )


def _refused(name: str, why: str, hint: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} {why}.", hint=f"{hint} Put a rule for it in the recipe, above the one that matches now."
    )
