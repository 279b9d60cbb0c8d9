"""A mixture's experts: a step computes only those that its tokens chose, each only for the tokens that chose it.

Every expert is a separate part of the program: it gathers the rows of the tokens that chose it, multiplies them, and
writes its results where the tokens find them, one slot for each choice of each token. An expert that no token chose is
jumped over: ``gemcut::chosen`` marks where its part begins, ``llama::update_cache_with_indices`` is where it ends, and
the patched emitter (``patches.expert_skipping``) puts a jump between (the part has no other effect than that write, so
nothing is missing after a jump). No weight is copied or unpacked for being chosen, which a gather of weights would do;
a decode step of a model with 8 of 128 experts reads a sixteenth of them.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from ....modeling.experts import SplitExperts, chosen_of


class ChosenExperts(SplitExperts):
    """The experts of one layer (see the module); ``bind`` comes before the first call."""

    numbers: torch.Tensor

    def __init__(self, experts: Any) -> None:
        super().__init__(experts)
        self.register_buffer("numbers", torch.arange(len(self.gate_up_proj)), persistent=False)
        self.width = int(experts.down_proj.shape[1])
        self._share: ExpertShare | None = None

    def bind(self, share: ExpertShare) -> None:
        """Set where results are put; the whole program has one such place."""
        self.__dict__["_share"] = share  # not a child: its buffers are the program's

    def forward(self, x: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        """Compute the chosen experts and mix their results.

        Args:
            x: float32 [T, H].
            top_k_index: The experts that each token chose, int64 [T, K].
            top_k_weights: The weights of their results, float32 [T, K].

        Returns:
            float32 [T, H].
        """
        share = self._share
        assert share is not None
        tokens, each = top_k_index.shape
        choices = top_k_index.reshape(-1)
        places = share.places[: tokens * each]
        hits = (choices.unsqueeze(1) == self.numbers).any(0)
        for number in range(len(self.gate_up_proj)):
            chosen = torch.ops.gemcut.chosen(choices, number, hits[number], share.results)
            slots = torch.masked_select(places, chosen)
            count = slots.shape[0]
            if isinstance(count, int) and count == 0:
                continue  # an eager run's jump
            torch._check(count >= 1)  # type: ignore[no-untyped-call]
            torch._check(count <= share.chunk)  # type: ignore[no-untyped-call]
            rows = x.index_select(0, share.token_of.index_select(0, slots))
            out = self.expert(number, rows)
            torch.ops.llama.update_cache_with_indices(out[None, :, None, :], share.results, 0, slots[None])
        results = share.results[0, : tokens * each, 0].reshape(tokens, each, x.shape[1])
        mixed: torch.Tensor = torch.bmm(top_k_weights.unsqueeze(1), results).squeeze(1)
        return mixed


class ExpertShare(nn.Module):
    """Buffers that the experts of all layers of a program share.

    Attributes:
        results: A row for each choice of each token, float32 [1, chunk · K, 1, H].
        places: 0, 1, …, int64 [chunk · K].
        token_of: Each row's token, int64 [chunk · K].

    Args:
        chunk: The most tokens of a call.
        each: K, how many experts a token chooses.
        width: H, the width of a result.
    """

    results: torch.Tensor
    places: torch.Tensor
    token_of: torch.Tensor

    def __init__(self, chunk: int, each: int, width: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.register_buffer("results", torch.zeros(1, chunk * each, 1, width), persistent=False)
        self.register_buffer("places", torch.arange(chunk * each), persistent=False)
        self.register_buffer("token_of", self.places // each, persistent=False)


def bind_experts(model: nn.Module, chunk: int) -> ExpertShare | None:
    """Give all ``ChosenExperts`` of a model one place for their results; return it, or None if it has no experts.

    Raises:
        UnsupportedError: The configuration doesn't say how many experts a token chooses.
    """
    found = [module for module in model.modules() if isinstance(module, ChosenExperts)]
    if not found:
        return None
    define_operators()
    share = ExpertShare(chunk, chosen_of(model.config), found[0].width)
    for module in found:
        module.bind(share)
    return share


@functools.cache
def define_operators() -> None:
    """Define ``gemcut::chosen`` for eager runs and for tracing; ExecuTorch's ``llama`` operators too.

    ``chosen(choices int64 [N], number, hit bool, results)`` is bool [N], ``choices == number``. The emitter needs
    ``hit``, whether any is true; ``results`` keeps the order: an expert's part can't begin before the one before it has
    written.
    """
    import executorch.extension.llm.custom_ops.custom_ops  # noqa: F401  (registers llama::*)

    arguments = "Tensor choices, Scalar number, Tensor hit, Tensor results"

    def eager(choices, number, hit, results):  # type: ignore[no-untyped-def]
        return choices == number

    def into(choices, number, hit, results, *, out):  # type: ignore[no-untyped-def]
        return out.copy_(choices == number)

    torch.library.define("gemcut::chosen", f"({arguments}) -> Tensor")
    torch.library.define("gemcut::chosen.out", f"({arguments}, *, Tensor(a!) out) -> Tensor(a!)")
    torch.library.impl("gemcut::chosen", "CPU")(eager)
    torch.library.impl("gemcut::chosen.out", "CPU")(into)
    torch.library.register_fake("gemcut::chosen")(lambda choices, *rest: torch.empty_like(choices, dtype=torch.bool))
