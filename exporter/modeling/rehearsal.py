"""A run of a decoder without weights, to learn what its configuration doesn't say: how it calls its attention.

transformers' families share an interface, not a rule. One passes its window, another leaves it to the mask; one has
values narrower than its keys, another adds a bias of positions. A graph that took no notice would be wrong, often so
far into a text that no golden prompt gets there. So everything that a layer hands over is compared with what the
cache is made for, before any weight is read. It takes a fraction of a second: tensors are on torch's meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache

from ..errors import GemcutError
from .experts import are_experts, chosen_of
from .kv_cache import LayerCacheSpec, cache_spec, layer_types_of

_NAME = "gemcut_rehearsal"
_TOKENS = 4
# Tensors that an attention function may be handed and needn't read: masks are made from the step's state, and positions
# are in the keys already.
_NEEDLESS = frozenset({"position_ids", "cache_position"})

Missing = Callable[[str, str], GemcutError]


@dataclass
class _Heard:
    """What a run's layers handed over: the first thing that has no adaptation, and who called what.

    mask: What the model was given as a mask, which its layers hand on as it is.
    """

    missing: Missing
    mask: Any
    attended: list[int] = field(default_factory=list)
    written: set[int] = field(default_factory=set)


def rehearse(model: Any, missing: Missing) -> None:
    """Run ``model`` on a few tokens and check how it calls its attention and its experts.

    Args:
        model: A causal language model of transformers on torch's meta device; it is left as it was.
        missing: Makes the error, given what is missing and where it shows.

    Raises:
        UnsupportedError: Attention or experts are called in a way that no adaptation knows; the message names the
            layer and what it hands over.
    """
    tokens = torch.zeros((1, _TOKENS), dtype=torch.long, device="meta")
    masks: Any = dict.fromkeys(("full_attention", "sliding_attention"))
    if not getattr(model.config, "layer_types", None):
        masks = torch.zeros(1, 1, 1, 1, device="meta")
    heard = _Heard(missing, masks)
    try:
        with torch.no_grad(), _listening(model, heard):
            model(
                input_ids=tokens,
                position_ids=tokens,
                attention_mask=masks,
                past_key_values=_Written(heard),
                use_cache=True,
                logits_to_keep=1,
                step_state=heard,
            )
    except GemcutError:
        raise
    except Exception as error:  # what a model's own code raises is its own
        said = str(error).strip().splitlines() or [""]
        raise missing("a custom forward", f"{type(model).__name__}: {type(error).__name__}: {said[0]}") from error
    _refuse_other_calls(model, heard)


def _refuse_other_calls(model: Any, heard: _Heard) -> None:
    layers = cache_spec(model.config, _TOKENS, _TOKENS).layers
    apart = sorted(set(range(len(layers))) - set(heard.attended))
    if apart or len(heard.attended) != len(layers):
        where = f"layer {apart[0]}" if apart else "called more than once per layer"
        raise heard.missing("a custom attention", f"{type(model).__name__}, {where}")
    odd = heard.written ^ {index for index, layer in enumerate(layers) if layer is not None}
    if odd:
        raise heard.missing("keys and values that are shared in an unknown way", f"layer {min(odd)}")


class _Written(Cache):
    """Hands keys and values back, and notes whose they are."""

    def __init__(self, heard: _Heard) -> None:
        super().__init__(layers=[])
        self.heard = heard

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Note the layer, and return its keys and values [1, KV heads, S, head dim] as they are."""
        self.heard.written.add(layer_idx)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


@contextmanager
def _listening(model: Any, heard: _Heard) -> Iterator[None]:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    config, own = model.config, model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention(config, heard))
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, lambda *args, **kwargs: None)
    with ExitStack() as undo:
        undo.callback(setattr, config, "_attn_implementation", own)
        undo.callback(model.train, model.training)
        config._attn_implementation = _NAME
        model.eval()
        for name, module in model.named_modules():
            if are_experts(module):
                module.forward = _experts(name, config, heard)
                undo.callback(delattr, module, "forward")
        yield


def _attention(config: Any, heard: _Heard) -> Any:
    spec = cache_spec(config, 1 << 30, 1)
    kinds = layer_types_of(config)
    capped = getattr(config, "attn_logit_softcapping", None)

    def attend(  # type: ignore[no-untyped-def]
        module, query, key, value, attention_mask, scaling=None, softcap=None, sliding_window=None, **kwargs
    ):
        index = module.layer_idx
        where = f"layer {index}, {type(module).__name__}"
        if attention_mask is not None and attention_mask is not heard.mask:
            raise heard.missing("attention with a mask of its own", where)
        for what in _odd_keywords(module, kwargs, heard):
            raise heard.missing(what, where)
        if softcap != capped:
            raise heard.missing(f"a softcap of {softcap} on attention", f"{where}; config.json says {capped}")
        wanted = spec.window if kinds[index] == "sliding_attention" else None
        if sliding_window != wanted:
            raise heard.missing(f"a window of {sliding_window}", f"{where}; its config.json says {wanted}")
        _refuse_other_shape(spec.layers[index], query, key, value, where, heard)
        heard.attended.append(index)
        return query.transpose(1, 2), None

    return attend


def _odd_keywords(module: nn.Module, kwargs: dict[str, Any], heard: _Heard) -> Iterator[str]:
    """What attention is handed that Gemcut's doesn't read."""
    if kwargs.get("step_state") is not heard:
        yield "a decoder that passes no keywords on to its attention"
    if kwargs.get("s_aux") is not None:
        yield "attention sinks"
    if kwargs.get("is_causal") is False or getattr(module, "is_causal", True) is False:
        yield "attention to later positions"
    tensors = [name for name, value in kwargs.items() if isinstance(value, torch.Tensor) and name not in _NEEDLESS]
    if tensors:
        yield "attention with " + ", ".join(map(repr, tensors))


def _refuse_other_shape(
    layer: LayerCacheSpec | None, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, where: str, heard: _Heard
) -> None:
    """Keys and values as the cache has them: [1, KV heads, S, head dim] both, and queries as wide."""
    if key.shape != value.shape or query.shape[-1] != key.shape[-1]:
        shown = ", ".join(str(x.shape[-1]) for x in (query, key, value))
        raise heard.missing("queries, keys and values of different widths", f"{where}: {shown}")
    if layer is not None and tuple(key.shape) != (1, layer.heads, _TOKENS, layer.head_dim):
        made = f"{layer.heads} heads of {layer.head_dim}"
        shown = f"{key.shape[1]} heads of {key.shape[-1]}"
        raise heard.missing(f"keys of {shown}", f"{where}; its config.json says {made}")


def _experts(name: str, config: Any, heard: _Heard) -> Any:
    """Stands for experts, whose own forward depends on values."""

    def forward(x: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        shapes = [tuple(each.shape) if isinstance(each, torch.Tensor) else None for each in given]
        wanted = (x.shape[0], chosen_of(config))
        if named or x.dim() != 2 or shapes != [wanted, wanted]:
            raise heard.missing("experts that are called in an unknown way", f"{name}: {shapes}")
        return torch.empty_like(x)

    return forward
