"""ExecuTorch's runtime without its exporter: what is imported, and that the exporter still can be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gemcut.errors import LackingError

from tests.support.families_cases import gemma3

RUNS = """
import json, sys
from pathlib import Path
from gemcut.runtimes.executorch.runner import ExecuTorchRunner
runner = ExecuTorchRunner(Path(sys.argv[1]))
logits = runner.prefill([1, 2, 3], 0)
runner.close()
loaded = [name for name in sys.modules if name.startswith(("executorch.exir", "torch._inductor"))]
print(json.dumps([loaded, logits.tolist()]))
"""
THEN_TRACES = """
import executorch.exir
import executorch.extension.llm.custom_ops.custom_ops
import torch
from executorch.exir._warnings import ExperimentalWarning
keys = torch.empty(1, 4, 2, 8, device="meta")
print(torch.ops.llama.custom_sdpa(keys, keys, keys, 0, None, 0.0, True).shape[0])
assert executorch.exir._warnings.ExperimentalWarning is ExperimentalWarning
"""


def child(code: str, *words: object) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_program_runs_without_the_exporter_which_can_be_imported_later(make: Callable[..., Any]) -> None:
    from gemcut.runtimes.executorch.runner import ExecuTorchRunner

    made = make(gemma3(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"]))
    ran, batch = child(RUNS + THEN_TRACES, made.program)
    loaded, logits = json.loads(ran)
    assert loaded == []
    assert batch == "1", "the operators' shape functions are there as soon as a trace asks for them"
    here = ExecuTorchRunner(made.program).prefill([1, 2, 3], 0)
    assert logits == pytest.approx(here.tolist())


def test_a_package_without_its_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemcut.runtimes.executorch.patches.runtime_alone import operator_library

    (tmp_path / "no_operators").mkdir()
    (tmp_path / "no_operators" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LackingError, match="no_operators has 0 operator libraries"):
        operator_library("no_operators")
