"""What makes lowering fast must not show in its result."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from gemcut.errors import LackingError

from tests.support.executorch_programs import some_ids
from tests.support.families_cases import gemma3


def test_the_program_computes_bit_for_bit_what_plain_lowering_gives(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without shared partitions, skipped re-traces and merged decompositions every logit is the same."""
    from gemcut.runtimes.executorch import lower
    from gemcut.runtimes.executorch.delegates.xnnpack import shared_partitions
    from gemcut.runtimes.executorch.delegates.xnnpack.shared_partitions import PartitionCount
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner as open_runner

    config = gemma3(num_hidden_layers=3, layer_types=["sliding_attention"] * 2 + ["full_attention"])
    fast = make(config)

    @contextmanager
    def plain() -> Any:
        yield PartitionCount()

    monkeypatch.setattr(shared_partitions, "equal_partitions_shared", plain)
    monkeypatch.setattr(lower, "noop_passes_skipped", plain)
    slow = make(config)
    assert fast.lowered.facts["partitions_shared"] > 0
    assert slow.lowered.facts["partitions_shared"] == 0
    assert fast.lowered.operators == slow.lowered.operators
    assert fast.lowered.delegates == slow.lowered.delegates
    ids, logits = some_ids(9), []
    for program in (fast.program, slow.program):
        runner = open_runner(program)
        logits.append([runner.prefill(ids[:11], 0), *(runner.step(t, 11 + i) for i, t in enumerate(ids[11:40]))])
    assert all((a == b).all() for a, b in zip(*logits, strict=True))


def test_a_patch_whose_place_is_gone_fails_loudly() -> None:
    from executorch.exir.program import _program
    from gemcut.runtimes.executorch.patches.guard import replaced

    block = replaced(_program, "emit_the_program", lambda original: original)
    with pytest.raises(LackingError, match="no longer has emit_the_program"):
        block.__enter__()


def test_another_release_of_executorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from gemcut.runtimes.executorch.patches import guard as patches

    monkeypatch.setattr(patches, "version", lambda name: "1.6.0")
    with pytest.raises(LackingError, match=r"1\.6\.0") as caught:
        patches.require_version()
    assert "pip install" in (caught.value.hint or "")


def test_patches_are_gone_after_the_block_even_when_it_fails() -> None:
    from executorch.exir.program import _program
    from gemcut.runtimes.executorch.patches.window_branch import branching_emitter

    before = _program.emit_program

    def fail_inside() -> None:
        with branching_emitter():
            assert _program.emit_program is not before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert _program.emit_program is before


def test_nothing_of_a_lowering_lives_on(make: Callable[..., Any]) -> None:
    """Caches of ExecuTorch and PyTorch have nodes as keys, and with them every graph and every matrix."""
    from torch.export import ExportedProgram

    def alive() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if type(each) is ExportedProgram}

    before = alive()
    make(gemma3(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"]))
    assert alive() <= before
