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


@pytest.mark.parametrize(("recipe", "each"), [("int8", 1), ("float32", 4)])
def test_the_second_copy_is_cut_out_and_no_logit_changes(
    recipe: str, each: int, make: Callable[..., Any], unshared: None, tmp_path: Path
) -> None:
    from gemcut.runtimes.executorch.shared_tables import share_tables

    config = gemma3(**TWO_LAYERS)
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
