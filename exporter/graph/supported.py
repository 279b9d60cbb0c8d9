"""What the graph can't do yet, read from the configuration, so that it is said before anything slow begins."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedError

# Rotary frequencies that don't depend on the length seen so far (transformers ROPE_INIT_FUNCTIONS).
_STATIC_ROPE = frozenset({"default", "linear", "proportional", "llama3", "yarn"})


def refuse_unsupported(config: Any) -> None:
    """Checks a transformers text configuration.

    Raises:
        UnsupportedError: a feature that has no adaptation; the message names the configuration's key.
    """
    if getattr(config, "enable_moe_block", False) or getattr(config, "num_local_experts", None):
        raise _missing("enable_moe_block", "mixture-of-experts layers")
    if getattr(config, "attn_logit_softcapping", None):
        raise _missing("attn_logit_softcapping", "a softcap on attention logits")
    if getattr(config, "use_bidirectional_attention", None) in (True, "all"):
        raise _missing("use_bidirectional_attention", "bidirectional attention")
    for kind, rope in _rope(config):
        if rope not in _STATIC_ROPE:
            raise _missing(f"rope_parameters.{kind}", f"rotary frequencies of type '{rope}'")


def _missing(key: str, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The model has {what} ('{key}' in its config.json), which Gemcut can't lower yet.",
        hint="README.md's table of models says what works today.",
    )


def _rope(config: Any) -> list[tuple[str, str]]:
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in parameters:
        return [("rope_type", parameters["rope_type"])]
    return [(kind, p.get("rope_type", "default")) for kind, p in parameters.items() if p]
