"""Attention and the sliding window as functions registered with transformers.

``llama::custom_sdpa`` takes queries [1, S, heads, head dim] and the cache as stored. Within the window a sliding
layer is plain causal attention over the slots written so far; past it the ring has wrapped and a mask says which
slots a query sees. Both are one opaque operator here, ``gemcut::window_sdpa``, which takes the choice as a tensor;
the patched emitter (``patches.window_branch``) turns it into a branch between two calls of ``llama::custom_sdpa``, so
that a short conversation never pays for the mask and no runtime ever meets an operator that it doesn't know.
(``torch.cond`` itself can't be used: its branches would need the position, an unbacked symbol, which neither
torch 2.13's retracing nor ExecuTorch 1.5's passes carry into a branch.)
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from ....errors import UnsupportedError
from ....modeling.kv_cache import MASKED, CacheSpec
from . import softcap as softcapped
from .cache import StepState, rows_for

NAME = "gemcut_sdpa"


def attend(  # type: ignore[no-untyped-def]
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute attention; transformers calls this function in every layer.

    Args:
        module: The layer's attention module.
        query: [1, heads, S, head dim]; S is 1 in layers that transformers runs for the last position only.
        key: The layer's key cache as stored.
        value: The layer's value cache as stored.
        attention_mask: Not read; masks are the step's (``StepState``).
        scaling: Factor of the scores; None for 1 / sqrt(head dim).
        softcap: Gemma 2's, which takes another path (see ``softcap``).
        sliding_window: The layer's window in tokens; None in full layers.
        **kwargs: ``step_state``, and others of transformers', of which ``s_aux`` is refused.

    Returns:
        [1, S, heads, head dim], and None for the attention weights.

    Raises:
        UnsupportedError: The layer has attention sinks, or a window other than the configuration's.
    """
    state: StepState = kwargs["step_state"]
    if kwargs.get("s_aux") is not None:
        raise UnsupportedError(
            f"{type(module).__name__} has attention sinks, which Gemcut can't lower.",
            hint="Gemcut doesn't have the adaptation that this family needs yet; please report it.",
        )
    _refuse_other_window(module, key.shape[1], sliding_window, state)
    if softcap is not None:
        return softcapped.attend(query, key, value, state, scaling, softcap, sliding_window is not None)
    rows = query.transpose(1, 2)
    start = state.end - rows.shape[1]
    scale = float(scaling if scaling is not None else query.shape[-1] ** -0.5)
    if sliding_window is None or state.in_window is None:
        return torch.ops.llama.custom_sdpa(rows, key, value, start, None, 0.0, True, scale), None

    mask = rows_for(state.window_mask, rows.shape[1])
    return torch.ops.gemcut.window_sdpa(rows, key, value, mask, state.in_window, start, scale), None


def _refuse_other_window(  # type: ignore[no-untyped-def]
    module, slots: int, window: int | None, state: StepState
) -> None:
    """Refuses a layer whose window isn't the one that the cache was made for from the configuration."""
    spec = state.spec
    if spec is None or not spec.windowed:
        return
    wanted = spec.context if window is None else spec.ring_slots
    if slots != wanted or window not in (None, spec.window):
        raise UnsupportedError(
            f"{type(module).__name__} of layer {module.layer_idx} asks for a window of {window}, but config.json gives "
            f"that layer a cache of {slots} slots ('layer_types', 'sliding_window').",
            hint="Gemcut doesn't have the adaptation that this family needs yet; please report it.",
        )


def no_mask(*args: Any, **kwargs: Any) -> None:
    """Make no mask: the traced module makes its own. Registered beside ``attend``."""


@functools.cache
def define_operators() -> None:
    """Define ``gemcut::window_sdpa`` for eager runs and for tracing; ExecuTorch's ``llama`` operators too."""
    import executorch.extension.llm.custom_ops.custom_ops  # noqa: F401  (registers llama::*)

    arguments = "Tensor query, Tensor key, Tensor value, Tensor mask, Tensor in_window, SymInt start, float scale"

    def eager(query, key, value, mask, in_window, start, scale):  # type: ignore[no-untyped-def]
        if bool(in_window):
            return torch.ops.llama.custom_sdpa(query, key, value, start, None, 0.0, True, scale)
        return torch.ops.llama.custom_sdpa(query, key, value, 0, mask, 0.0, False, scale)

    def into(query, key, value, mask, in_window, start, scale, *, out):  # type: ignore[no-untyped-def]
        return out.copy_(eager(query, key, value, mask, in_window, start, scale))  # type: ignore[no-untyped-call]

    torch.library.define("gemcut::window_sdpa", f"({arguments}) -> Tensor")
    torch.library.define("gemcut::window_sdpa.out", f"({arguments}, *, Tensor(a!) out) -> Tensor(a!)")
    torch.library.impl("gemcut::window_sdpa", "CPU")(eager)
    torch.library.impl("gemcut::window_sdpa.out", "CPU")(into)
    torch.library.register_fake("gemcut::window_sdpa")(lambda query, *rest: torch.empty_like(query))


def register() -> None:
    """Make ``attn_implementation='gemcut_sdpa'`` known to transformers, through its public registries."""
    define_operators()
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, no_mask)


def window_mask(last: torch.Tensor, queries: torch.Tensor, slots: torch.Tensor, spec: CacheSpec) -> torch.Tensor:
    """Return which ring slots each query sees, as an additive mask.

    Slot j holds the newest position p <= last with p = j modulo the ring's length, so its age is
    (last - j) mod slots. A query that lies ``o`` before the last sees ages o .. o + window - 1 that were written
    (age <= last). Each violated bound adds ``MASKED`` times its distance: relu arithmetic, which delegates take.

    Args:
        last: The position of the last token of this call, int64 [1].
        queries: The o of each query, S-1 .. 0, float32 [S, 1].
        slots: 0 .. ring slots - 1, int64 [ring slots].
        spec: The cache's shape.

    Returns:
        The mask, float32 [S, ring slots]: 0 where a slot is seen, at most ``MASKED`` elsewhere.
    """
    assert spec.window is not None
    age = torch.remainder(last - slots, spec.ring_slots)
    unwritten = torch.relu((age - last).to(torch.float32))
    ages = age.to(torch.float32).unsqueeze(0)
    future = torch.relu(queries - ages)
    forgotten = torch.relu(ages - queries - float(spec.window - 1))
    return (future + forgotten + unwritten.unsqueeze(0)) * MASKED
