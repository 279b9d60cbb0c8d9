"""What LiteRT's kernels can multiply by, so that a recipe which they would ignore is refused before any work."""

from __future__ import annotations

from ...errors import UnsupportedError
from ...quantize.recipe import Scheme

# XNNPACK's blockwise kernels (qd8-f32-qb4w) take multiples of 32; ai-edge-quantizer 0.10 makes these.
GROUPS = (32, 64, 128, 256)


def check_scheme(scheme: Scheme, columns: int, name: str, gathered: bool) -> None:
    """Checks that LiteRT multiplies by, or gathers from, a weight stored so.

    Args:
        scheme: what the recipe gives it.
        columns: elements of a row: the reduction dimension of a linear, the width of an embedding.
        name: the module's, for the message.
        gathered: it is an embedding.

    Raises:
        UnsupportedError: the message names the weight and what would fit.
    """
    if scheme.weight == "float32":
        return
    if scheme.weight == "int4" and columns % 2:
        raise _refused(name, f"has {columns} columns, an odd number, which int4 can't pair up", "Take int8 for it.")
    if gathered:
        if scheme.group:
            raise _refused(
                name, f"is an embedding, which has one scale per row, not one per {scheme.group} elements", "group = 0."
            )
        return
    if scheme.group and scheme.weight != "int4":
        raise _refused(
            name,
            f"is asked for as {scheme.weight} in groups of {scheme.group}: LiteRT has no kernel for it and would "
            "leave the weight as it was",
            "Groups go with int4; with int8 take one scale per row (group = 0).",
        )
    if scheme.group and scheme.group not in GROUPS:
        sizes = ", ".join(map(str, GROUPS))
        raise _refused(name, f"is asked for in groups of {scheme.group}; LiteRT's kernels have {sizes}", "Take one.")
    if scheme.group and columns % scheme.group:
        fits = [g for g in reversed(GROUPS) if columns % g == 0]
        hint = f"Groups of {fits[0]} would fit." if fits else "Give it one scale per row (group = 0)."
        raise _refused(name, f"has {columns} columns, which groups of {scheme.group} don't divide", hint)
    if scheme.activation != "int8-dynamic":
        raise _refused(
            name,
            f"is asked for as {scheme.weight} with float32 activations: LiteRT's kernels quantize activations to int8 "
            "whenever weights are integers",
            'Say so: activation = "int8-dynamic".',
        )


def _refused(name: str, why: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"{name} {why}.", hint=f"{hint} Put a rule for it above the present one in the recipe.")
