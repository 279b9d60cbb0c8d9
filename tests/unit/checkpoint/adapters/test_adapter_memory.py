"""A merge needs no memory of a tensor's size: it writes into files, and what is taken whole stays in the adapter's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gemcut.checkpoint.adapters.merging import Factors, merge_embedding, merge_linear
from gemcut.checkpoint.mapped import map_float_model
from gemcut.checkpoint.opening import open_checkpoint
from gemcut.util.file_tensors import Scratch
from gemcut.util.process_memory import anonymous_memory, give_back
from safetensors.torch import load_file, save_file

WEIGHTS = "adapter_model.safetensors"


class Noting(Scratch):
    """Notes the shapes that it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made: list[tuple[int, ...]] = []

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        self.made.append(tuple(shape))
        return super().empty(shape, dtype)


@contextmanager
def growth() -> Iterator[list[int]]:
    """The most bytes of this process's own memory that were added meanwhile."""
    give_back()
    start, most, over = anonymous_memory(), [0], threading.Event()
    if start is None:
        pytest.skip("this system doesn't say how much memory is a process's own")

    def watch() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], (anonymous_memory() or 0) - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("embedding", [False, True], ids=["linear", "embedding"])
def test_a_merge_into_a_file_needs_little_memory(embedding: bool, tmp_path: Path) -> None:
    rows, size, rank = 12288, 4096, 8
    weight = Scratch(tmp_path).empty((rows, size), torch.bfloat16).fill_(0.5)
    factors = Factors(torch.full((rank, size), 0.25), torch.full((rows, rank), 0.125), 2.0)
    magnitude = torch.full((size if embedding else rows,), 3.0)
    merge = merge_embedding if embedding else merge_linear
    small = Scratch(tmp_path).empty((64, size), torch.float32)
    merge(weight[:64], Factors(factors.a, factors.b[:64], 2.0), magnitude[: len(magnitude) if embedding else 64], small)
    with growth() as most:
        out = Scratch(tmp_path).empty(weight.shape, torch.float32)
        merge(weight, factors, magnitude, out)
    # Every value is the same, so that a row of n, or a column, of length m has values of m / sqrt(n).
    wanted = 3.0 / (rows if embedding else size) ** 0.5
    assert (out.min().item(), out.max().item()) == (pytest.approx(wanted), pytest.approx(wanted))
    assert out.nbytes == 192 << 20
    assert most[0] < 64 << 20


def test_of_a_mapped_model_only_merged_matrices_are_made_anew(
    pristine: Callable[[str], Path], make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = pristine("gemma3_text")
    adapter = make_adapter(base, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    halves = {name: tensor.bfloat16() for name, tensor in load_file(adapter / WEIGHTS).items()}
    save_file(halves, adapter / WEIGHTS, metadata={"format": "pt"})
    checkpoint = open_checkpoint(str(base), adapter=adapter)
    scratch = Noting(tmp_path)
    state = map_float_model(checkpoint, scratch).state_dict()
    merged = [tuple(weight.shape) for name, weight in state.items() if name.endswith("q_proj.weight")]
    assert sorted(scratch.made) == sorted(merged)
    whole = next(tensor for name, tensor in halves.items() if "embed_tokens" in name)
    embedding = state["model.embed_tokens.weight"]
    assert embedding.dtype == torch.bfloat16
    assert torch.equal(embedding, whole)
    assert checkpoint.tensors.dtype("model.embed_tokens.weight") == "BF16"
    assert checkpoint.tensors.shard("model.embed_tokens.weight") == adapter / WEIGHTS
