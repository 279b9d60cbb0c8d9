"""One copy of a tied table in a ``.pte``: the program does to the bit what it did with two."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.executorch_programs import some_ids
from tests.support.families_cases import gemma3, llama2

TWO_LAYERS = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}


@pytest.fixture
def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    from gemcut.runtimes.executorch import lower

    monkeypatch.setattr(lower, "share_tables", lambda program: 0)


def logits_of(program: Path) -> list[Any]:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    runner = ExecuTorchRunner(program)
    ids = some_ids(7)[:20]
    found = [runner.prefill(ids[:8], 0), *(runner.step(token, 8 + at) for at, token in enumerate(ids[8:]))]
    runner.close()
    return found


@pytest.mark.parametrize(("recipe", "each"), [("int8", 1), ("float32", 4), ("small", 0.5)])
def test_the_second_copy_is_cut_out_and_no_logit_changes(
    recipe: str, each: float, make: Callable[..., Any], unshared: None, tmp_path: Path
) -> None:
    from gemcut.runtimes.executorch.shared_tables import share_tables

    config = gemma3(**TWO_LAYERS, hidden_size=96)  # a multiple of 32, so that an int4 table has groups
    made = make(config, recipe=recipe)
    program = Path(shutil.copyfile(made.program, tmp_path / "shared.pte"))
    table = config.vocab_size * config.hidden_size * each
    saved = share_tables(program)
    assert table <= saved < table + 4096
    assert program.stat().st_size == made.program.stat().st_size - saved
    before, after = logits_of(made.program), logits_of(program)
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    again = program.read_bytes()
    assert share_tables(program) == 0, "there is nothing left to share"
    assert program.read_bytes() == again


def test_a_program_without_a_second_copy_stays_as_it_is(
    make: Callable[..., Any], unshared: None, tmp_path: Path
) -> None:
    from gemcut.runtimes.executorch.shared_tables import share_tables

    made = make(llama2())  # its head isn't tied
    program = Path(shutil.copyfile(made.program, tmp_path / "float.pte"))
    assert share_tables(program) == 0
    assert program.read_bytes() == made.program.read_bytes()


def test_an_int4_table_gives_the_rows_and_products_of_its_dequantized_weight(make: Callable[..., Any]) -> None:
    """Columns are swapped for the head, packed for the embedding, and both say the same weight."""
    import torch
    from gemcut.quantize.methods import METHODS
    from gemcut.quantize.methods.scale_search import dequantized
    from gemcut.quantize.recipe import Scheme
    from gemcut.quantize.stored import StoredWeight
    from gemcut.runtimes.executorch.quantized_modules import GroupedEmbedding, QuantizedLinear
    from gemcut.util.file_tensors import InMemory

    scheme = Scheme("table", "int4", 32)
    head = torch.nn.Linear(64, 40, bias=False)
    stored = StoredWeight(*METHODS.get("round-to-nearest").quantize(head.weight.detach(), scheme))
    whole = dequantized(stored.values, stored.scales)
    ids = torch.arange(40)[None]
    assert torch.equal(GroupedEmbedding(stored, 1.0)(ids)[0], whole)
    assert torch.allclose(GroupedEmbedding(stored, 2.5)(ids)[0], 2.5 * whole)
    x = torch.randn(3, 64)
    swapped = QuantizedLinear(head, scheme, InMemory(), stored, swapped=True)
    assert torch.allclose(swapped(x), x @ whole.t(), atol=1e-5)
    assert not torch.equal(swapped.values, stored.values)


def test_tiny_scales_that_float16_would_lose_stay_float32() -> None:
    import torch
    from gemcut.quantize.stored import StoredWeight
    from gemcut.runtimes.executorch.quantized_modules import GroupedEmbedding

    values = torch.randint(-8, 8, (6, 32), dtype=torch.int8)
    for scale, kept in ((2.0**-9, torch.float16), (1.0078125 * 2.0**-20, torch.float32)):
        scales = torch.full((6, 1), scale)
        embedding = GroupedEmbedding(StoredWeight(values, scales), 1.0)
        assert embedding.scales.dtype == kept
        assert torch.equal(embedding(torch.arange(6)[None])[0], values.float() * scale)
