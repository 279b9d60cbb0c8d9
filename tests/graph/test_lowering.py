"""What makes lowering fast must not show in its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from gemcut.errors import LackingError

from .test_graph_parity import gemma3


@pytest.mark.slow
def test_the_program_is_byte_for_byte_what_plain_lowering_gives(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without shared twins, skipped re-traces and merged decompositions the bytes are the same."""
    from gemcut.runtimes.executorch import lower
    from gemcut.runtimes.executorch.twins import TwinCount

    fast = make(gemma3(num_hidden_layers=3, layer_types=["sliding_attention"] * 2 + ["full_attention"]))

    @contextmanager
    def plain() -> Any:
        yield TwinCount()

    monkeypatch.setattr(lower, "shared_twins", plain)
    monkeypatch.setattr(lower, "idle_work_skipped", plain)
    slow = make(gemma3(num_hidden_layers=3, layer_types=["sliding_attention"] * 2 + ["full_attention"]))
    assert fast.lowered.facts["partitions_shared"] > 0
    assert slow.lowered.facts["partitions_shared"] == 0
    assert fast.program.read_bytes() == slow.program.read_bytes()


def test_a_patch_whose_place_is_gone_fails_loudly() -> None:
    from executorch.exir.program import _program
    from gemcut.runtimes.executorch.patches import replaced

    with pytest.raises(LackingError, match="has no emit_the_program"), replaced(_program, "emit_the_program", lambda f: f):
        pass


def test_another_release_of_executorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from gemcut.runtimes.executorch import patches

    monkeypatch.setattr(patches, "version", lambda name: "1.6.0")
    with pytest.raises(LackingError, match=r"1\.6\.0") as caught:
        patches.require_version()
    assert "pip install" in (caught.value.hint or "")


def test_patches_are_gone_after_the_block_even_when_it_fails() -> None:
    from executorch.exir.program import _program
    from gemcut.runtimes.executorch.branch import branching_emitter

    before = _program.emit_program
    with pytest.raises(ZeroDivisionError), branching_emitter():
        assert _program.emit_program is not before
        raise ZeroDivisionError
    assert _program.emit_program is before
