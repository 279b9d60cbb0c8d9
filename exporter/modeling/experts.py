"""A mixture's experts as one linear for each: recipes name them, schemes are decided and weights stored one by one.

transformers keeps the weights of all experts of a layer in two parameters of three dimensions, and computes them in
ways that hang on the values (a loop over the experts that were hit). Each runtime has its own way of computing the
split experts (``runtimes.executorch``'s is ``ChosenExperts`` in ``routing``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import UnsupportedError


class SplitExperts(nn.Module):
    """Each expert's linears, views of the family's three-dimensional parameters; how they are computed is a subclass's.

    The swap needs no values, so that it also shows a model on torch's meta device as it will be lowered.

    Args:
        experts: the family's module: parameters ``gate_up_proj`` [E, 2 I, H] and ``down_proj`` [E, H, I], the
            activation ``act_fn``.
    """

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.act_fn = experts.act_fn
        self.gate_up_proj = nn.ModuleList(_view(weight) for weight in experts.gate_up_proj)
        self.down_proj = nn.ModuleList(_view(weight) for weight in experts.down_proj)

    def expert(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """One expert's output. x: float32 [T, H]; returns float32 [T, H]."""
        gate, up = self.gate_up_proj[number](x).chunk(2, dim=-1)
        out: torch.Tensor = self.down_proj[number](self.act_fn(gate) * up)
        return out


def _view(weight: torch.Tensor) -> nn.Linear:
    """A linear without bias over ``weight`` [N, K], which stays where it is."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return linear


def chosen_of(config: Any) -> int:
    """How many experts a token chooses.

    Raises:
        UnsupportedError: the configuration doesn't say.
    """
    each = getattr(config, "top_k_experts", None) or getattr(config, "num_experts_per_tok", None)
    if not each:
        raise UnsupportedError(
            "The model has experts, but its config.json says by neither 'top_k_experts' nor 'num_experts_per_tok' how "
            "many a token chooses.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
    return int(each)


def are_experts(module: nn.Module) -> bool:
    """Whether a module holds the weights of several experts in one parameter each."""
    stacked = [getattr(module, part, None) for part in ("gate_up_proj", "down_proj")]
    return all(isinstance(weight, nn.Parameter) and weight.dim() == 3 for weight in stacked)


def split_experts(model: Any, kind: type[SplitExperts]) -> Any:
    """Puts ``kind`` in the place of every module that holds several experts' weights, in place; returns the model.

    Raises:
        UnsupportedError: experts that are laid out in another way than any supported family's.
    """
    for name, module in list(model.named_modules()):
        if are_experts(module):
            check_layout(name, module)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, kind(module))
    return model


def check_layout(name: str, experts: Any) -> None:
    """Gate above up, rows are outputs, no bias, nothing between: as ``use_experts_implementation``'s flags say.

    Raises:
        UnsupportedError: another layout; the message names the module and the flag.
    """
    wanted = {"has_gate": True, "is_concatenated": True, "is_transposed": False, "has_bias": False}
    other = [flag for flag, value in wanted.items() if getattr(experts, flag, value) != value]
    other += ["has_post_expert_norm"] if getattr(experts, "has_post_expert_norm", False) else []
    gate = getattr(type(experts), "_apply_gate", None)  # transformers gives its own to a class that has none
    other += ["_apply_gate"] if gate is not None and gate.__name__ != "_default_apply_gate" else []
    if other:
        raise UnsupportedError(
            f"{name} ({type(experts).__name__}) keeps its experts in a layout that Gemcut doesn't know: "
            f"{', '.join(other)}.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
