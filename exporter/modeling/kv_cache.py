"""The KV cache as the program holds it: mutable buffers inside, no tensors in or out.

Full layers keep ``context`` slots. Sliding layers keep a ring: a query sees the last ``window`` keys, and a
prefill chunk of up to ``chunk`` queries must still see what its first query sees, so the ring has
``window + chunk - 1`` slots (and never more than ``context``). KV-shared layers own none.

Keys and values are handed on as they are stored, [1, slots, KV heads, head dim], because that is how
``llama::custom_sdpa`` reads them: a transpose of the whole cache at every step would cost a quarter of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Of an additive mask: far below any logit, and finite: sums of several stay finite in float32.
MASKED = -1.0e9


@dataclass(frozen=True)
class LayerCacheSpec:
    """One layer's cache: slots x heads x head_dim, for K and for V, float32.

    Attributes:
        slots: Positions that it holds.
        heads: KV heads.
        head_dim: A head's width.
        ring: Whether slots wrap around.
    """

    slots: int
    heads: int
    head_dim: int
    ring: bool

    @property
    def bytes(self) -> int:
        """Bytes of keys and values together."""
        return 2 * 4 * self.slots * self.heads * self.head_dim


@dataclass(frozen=True)
class CacheSpec:
    """The shape of the whole cache.

    Attributes:
        context: Slots of a full layer.
        chunk: Most queries of a prefill step.
        window: The sliding window in tokens; None if the model has none.
        ring_slots: Slots of a sliding layer.
        layers: By layer; None if a layer reads another layer's keys and values.
    """

    context: int
    chunk: int
    window: int | None
    ring_slots: int
    layers: tuple[LayerCacheSpec | None, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all layers' caches."""
        return sum(layer.bytes for layer in self.layers if layer is not None)

    @property
    def windowed(self) -> bool:
        """Whether any position can be beyond the sliding window."""
        return self.window is not None and self.context > self.window


def cache_spec(config, context: int, chunk: int) -> CacheSpec:  # type: ignore[no-untyped-def]
    """Read the shape of every layer's cache from a transformers text configuration.

    Head dimension and KV heads are taken per layer if the configuration has them so (``per_layer_config``, Gemma 4).

    Args:
        config: A transformers text configuration.
        context: Slots of a full layer.
        chunk: Most queries of a prefill step.
    """
    layer_types = layer_types_of(config)
    window = config.sliding_window if "sliding_attention" in layer_types else None
    ring_slots = min(context, window + chunk - 1) if window else context
    shared = _shares_keys(config)
    layers: list[LayerCacheSpec | None] = []
    for index, layer_type in enumerate(layer_types):
        if shared[index]:
            layers.append(None)
            continue
        per_layer = config.per_layer_config[index] if hasattr(config, "per_layer_config") else config
        sliding = layer_type == "sliding_attention"
        slots = ring_slots if sliding else context
        layers.append(
            LayerCacheSpec(
                slots=slots,
                heads=per_layer.num_key_value_heads,
                head_dim=head_dim_of(per_layer),
                ring=sliding and slots < context,
            )
        )
    return CacheSpec(context, chunk, window, ring_slots, tuple(layers))


def head_dim_of(config: Any) -> int:
    """Return a head's width, which older configurations leave to the hidden size."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def layer_types_of(config: Any) -> list[str]:
    """Return each layer's type; if the configuration names none, a window applies to every layer (Mistral)."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return list(kinds)
    kind = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    return [kind] * int(config.num_hidden_layers)


def _shares_keys(config) -> list[bool]:  # type: ignore[no-untyped-def]
    modes = getattr(config, "kv_sharing_modes", None)
    if modes is not None:
        return [mode == "reuse" for mode in modes]
    return [False] * config.num_hidden_layers
