"""A mixture's experts as linears of their own, so that recipes name them and weights are stored one by one.

transformers keeps the weights of all experts of a layer in two parameters of three dimensions, and computes them in
ways that depend on the values (a loop over the experts that were hit). Each runtime has its own way of computing the
split experts (``runtimes.executorch``'s is ``ChosenExperts`` in ``routing``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import UnsupportedError


class SplitExperts(nn.Module):
    """Each expert's linears, as views of the family's three-dimensional parameters; a subclass computes them.

    The swap needs no values, so that it also shows a model on torch's meta device as it will be lowered.

    Args:
        experts: The family's module: parameters ``gate_up_proj`` [E, 2 I, H] and ``down_proj`` [E, H, I], the
            activation ``act_fn``.

    Attributes:
        act_fn: The family's activation.
        gate_up_proj: One linear an expert, [H] to [2 I].
        down_proj: One linear an expert, [I] to [H].
    """

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.act_fn = experts.act_fn
        self.gate_up_proj = nn.ModuleList(_view(weight) for weight in experts.gate_up_proj)
        self.down_proj = nn.ModuleList(_view(weight) for weight in experts.down_proj)

    def expert(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """Return one expert's output.

        Args:
            number: The expert's index.
            x: The tokens' hidden states, float32 [T, H].

        Returns:
            The expert's output, float32 [T, H].
        """
        gate, up = self.gate_up_proj[number](x).chunk(2, dim=-1)
        out: torch.Tensor = self.down_proj[number](self.act_fn(gate) * up)
        return out


def _view(weight: torch.Tensor) -> nn.Linear:
    """A linear without bias over ``weight`` [N, K], which stays where it is."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return linear


def chosen_of(config: Any) -> int:
    """Return how many experts a token chooses.

    Args:
        config: A transformers text configuration.

    Raises:
        UnsupportedError: The configuration doesn't say.
    """
    each = getattr(config, "top_k_experts", None) or getattr(config, "num_experts_per_tok", None)
    if not each:
        raise UnsupportedError(
            "The model has experts, but its config.json has neither 'top_k_experts' nor 'num_experts_per_tok', so that "
            "it doesn't say how many a token chooses.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
    return int(each)


def are_experts(module: nn.Module) -> bool:
    """Return whether a module holds the weights of several experts stacked in single parameters."""
    stacked = [getattr(module, part, None) for part in ("gate_up_proj", "down_proj")]
    return all(isinstance(weight, nn.Parameter) and weight.dim() == 3 for weight in stacked)


def split_experts(model: Any, kind: type[SplitExperts]) -> Any:
    """Replace every module that holds several experts' weights with a ``kind``, in place.

    Args:
        model: Changed in place.
        kind: The runtime's class of split experts.

    Returns:
        The model.

    Raises:
        UnsupportedError: Experts are laid out differently from those of any supported family.
    """
    for name, module in list(model.named_modules()):
        if are_experts(module):
            check_layout(name, module)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, kind(module))
    return model


def check_layout(name: str, experts: Any) -> None:
    """Check that experts have the known layout: gate above up, rows are outputs, no bias, nothing in between.

    transformers' ``use_experts_implementation`` sets the flags that say so.

    Args:
        name: The module's name, for the message.
        experts: The family's module.

    Raises:
        UnsupportedError: Another layout; the message names the module and the flag.
    """
    wanted = {"has_gate": True, "is_concatenated": True, "is_transposed": False, "has_bias": False}
    other = [flag for flag, value in wanted.items() if getattr(experts, flag, value) != value]
    other += ["has_post_expert_norm"] if getattr(experts, "has_post_expert_norm", False) else []
    gate = getattr(type(experts), "_apply_gate", None)  # transformers gives its own to a class that has none
    other += ["_apply_gate"] if gate is not None and gate.__name__ != "_default_apply_gate" else []
    if other:
        raise UnsupportedError(
            f"{name} ({type(experts).__name__}) stores its experts in a layout that Gemcut doesn't know: "
            f"{', '.join(other)}.",
            hint="This family needs an adaptation that Gemcut does not have yet; please report it.",
        )
