"""What the graph can't do yet, read from the configuration, so that it is said before anything slow begins."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedError
from ..runtimes import runtime_names

# Rotary frequencies that don't depend on the length seen so far (transformers ROPE_INIT_FUNCTIONS).
_STATIC_ROPE = frozenset({"default", "linear", "proportional", "llama3", "yarn"})
_LAYERS = frozenset({"full_attention", "sliding_attention"})
# What one runtime's graph has no adaptation for, though another's has: configuration key -> what it means.
_LACKING = {
    "executorch": {
        "enable_moe_block": "mixture-of-experts layers",
        "attn_logit_softcapping": "a softcap on attention logits",
    }
}


def refuse_unsupported(config: Any, runtime: str = "executorch") -> None:
    """Checks a transformers text configuration.

    Args:
        config: the decoder's configuration.
        runtime: whose graph is asked about.

    Raises:
        UnsupportedError: a feature that has no adaptation; the message names the configuration's key.
    """
    for key, what in _LACKING.get(runtime, {}).items():
        if getattr(config, key, None):
            raise _missing(key, what, runtime)
    if getattr(config, "num_local_experts", None):  # Mixtral's experts and their like: no family of ours
        raise _missing("num_local_experts", "mixture-of-experts layers", runtime)
    if getattr(config, "use_bidirectional_attention", None) in (True, "all"):
        raise _missing("use_bidirectional_attention", "bidirectional attention", runtime)
    for layer in getattr(config, "layer_types", None) or ():
        if layer not in _LAYERS:
            raise _missing("layer_types", f"layers of the type '{layer}'", runtime)
    for kind, rope in _rope(config):
        if rope not in _STATIC_ROPE:
            raise _missing(f"rope_parameters.{kind}", f"rotary frequencies of type '{rope}'", runtime)


def _missing(key: str, what: str, runtime: str) -> UnsupportedError:
    own = key in _LACKING.get(runtime, {})
    able = [name for name in runtime_names() if own and key not in _LACKING.get(name, {})]
    return UnsupportedError(
        f"The model has {what} ('{key}' in its config.json), which Gemcut can't lower for {runtime} yet.",
        hint=f"--runtime {able[0]} takes it." if able else "README.md's table of models says what works today.",
    )


def _rope(config: Any) -> list[tuple[str, str]]:
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in parameters:
        return [("rope_type", parameters["rope_type"])]
    return [(kind, p.get("rope_type", "default")) for kind, p in parameters.items() if p]
