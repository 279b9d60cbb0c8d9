"""Checks of the configuration and the modules for what the graph can't do, before anything slow begins.

Nothing here goes by a model's name: a family that needs no adaptation that Gemcut lacks is accepted, known or not.
"""

from __future__ import annotations

import functools
from typing import Any

from ..errors import UnsupportedError
from .experts import are_experts, check_layout

# Rotary frequencies that don't depend on the length seen so far (transformers ROPE_INIT_FUNCTIONS).
_STATIC_ROPE = frozenset({"default", "linear", "proportional", "llama3", "yarn"})
_LAYERS = frozenset({"full_attention", "sliding_attention"})
# A parameter's own name -> what it means that attention has one.
_UNKNOWN_PARAMETERS = {"sinks": "attention sinks"}


def refuse_unsupported(config: Any, runtime: str) -> None:
    """Check a transformers text configuration for features that have no adaptation.

    Args:
        config: The decoder's configuration.
        runtime: The runtime that the graph is for.

    Raises:
        UnsupportedError: A feature has no adaptation; the message names the configuration's key.
    """
    if getattr(config, "use_bidirectional_attention", None) in (True, "all"):
        raise _missing("bidirectional attention", f"{_key('use_bidirectional_attention')}", runtime)
    for layer in getattr(config, "layer_types", None) or ():
        if layer not in _LAYERS:
            raise _missing(f"layers of the type '{layer}'", _key("layer_types"), runtime)
    for kind, rope in _rope(config):
        if rope not in _STATIC_ROPE:
            raise _missing(f"rotary frequencies of type '{rope}'", _key(f"rope_parameters.{kind}"), runtime)


def refuse_modules(model: Any, runtime: str) -> None:
    """Check transformers' modules for what a configuration doesn't say in a way that all families share.

    Args:
        model: A causal language model of transformers without weights, on torch's meta device; it is left as it was.
        runtime: The runtime that the graph is for.

    Raises:
        UnsupportedError: Attention doesn't go through transformers' attention interface or calls it in a way of its
            own, no adaptation knows a parameter, or experts have an unknown layout; the message names the module.
    """
    name = type(model).__name__
    if getattr(model, "_is_stateful", False) or not getattr(model, "_supports_attention_backend", False):
        raise _missing("a state or a custom attention", f"transformers' {name}", runtime)
    known = set()
    for path, module in model.named_modules():
        if are_experts(module):
            check_layout(path, module)
            known |= {f"{path}.gate_up_proj", f"{path}.down_proj"}
    for path, parameter in model.named_parameters():
        leaf = path.rpartition(".")[2]
        if leaf in _UNKNOWN_PARAMETERS:
            raise _missing(_UNKNOWN_PARAMETERS[leaf], f"parameter {path}", runtime)
        if parameter.dim() > 2 and path not in known:
            raise _missing(f"a parameter of {parameter.dim()} dimensions", f"parameter {path}", runtime)
    from .rehearsal import rehearse

    rehearse(model, functools.partial(_missing, runtime=runtime))


def _key(key: str) -> str:
    return f"'{key}' in its config.json"


def _missing(what: str, where: str, runtime: str) -> UnsupportedError:
    return UnsupportedError(
        f"The model has {what} ({where}), which Gemcut can't lower for {runtime} yet.",
        hint="See the table of models in README.md for what works today.",
    )


def _rope(config: Any) -> list[tuple[str, str]]:
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in parameters:
        return [("rope_type", parameters["rope_type"])]
    return [(kind, p.get("rope_type", "default")) for kind, p in parameters.items() if p]
