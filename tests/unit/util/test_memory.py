"""What counts as an export's own memory, and what lies in files instead."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gemcut.util.file_tensors import InMemory, Scratch
from gemcut.util.process_memory import anonymous_memory, give_back
from gemcut.util.progress import Silent
from gemcut.util.stage_clock import StageClock

MEGABYTES = 1 << 20
ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(anonymous_memory() is None, reason="the system doesn't say what is its own")


def _fill(tensor: torch.Tensor) -> torch.Tensor:
    time.sleep(0.1)  # the clock looks every 20 ms
    tensor.fill_(3)
    time.sleep(0.1)
    return tensor


def test_a_stage_has_the_most_memory_that_was_in_use_in_it() -> None:
    clock = StageClock(Silent(), dict.fromkeys(("small", "large", "after"), ""))
    give_back()
    with clock.stage("small"):
        pass
    with clock.stage("large"):
        del (held := [_fill(torch.empty(200 * MEGABYTES, dtype=torch.int8))])[:]
    with clock.stage("after"):
        give_back()
    assert held == []
    assert clock.memory["large"] - clock.memory["small"] > 150 * MEGABYTES
    assert clock.memory["after"] - clock.memory["small"] < 200 * MEGABYTES
    assert set(clock.seconds) == set(clock.memory)


def test_what_lies_in_scratch_files_is_not_the_process_own(tmp_path: Path) -> None:
    give_back()
    before = anonymous_memory() or 0
    tensor = _fill(Scratch(tmp_path).empty((200, MEGABYTES), torch.int8))
    assert (anonymous_memory() or 0) - before < 50 * MEGABYTES
    assert bool((tensor == 3).all())
    assert list(tmp_path.iterdir()) == [], "its file has no name"


def test_mapped_weights_are_not_the_process_own(tmp_path: Path) -> None:
    from gemcut.checkpoint.tensors import open_tensors
    from safetensors.torch import save_file

    save_file({"w": torch.full((100, MEGABYTES), 2, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    tensors = open_tensors(tmp_path)
    give_back()
    before = anonymous_memory() or 0
    weight = tensors.mapped("w")
    assert bool((weight.view(torch.int16) == weight.view(torch.int16)[0, 0]).all())
    assert (anonymous_memory() or 0) - before < 150 * MEGABYTES


@pytest.mark.parametrize("shape", [(3, 5), (1 << 10, 1 << 10)])
@pytest.mark.parametrize("dtype", [torch.int8, torch.float32, torch.bfloat16])
def test_scratch_tensors_begin_as_zeros_and_keep_what_is_written(
    tmp_path: Path, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    for scratch in (Scratch(tmp_path), InMemory()):
        tensor = scratch.empty(shape, dtype)
        assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == (shape, dtype, True)
        assert not bool(tensor.any())
        values = torch.from_numpy(np.arange(tensor.numel()) % 100).reshape(shape).to(dtype)
        assert torch.equal(scratch.kept(values), values)
        assert torch.equal(tensor.copy_(values), values)


def _touched(path: Path) -> np.ndarray:
    data = np.memmap(path, np.uint8, "r")
    assert int(data[:: 1 << 12].sum()) >= 0
    return data


def alone(program: str, *words: str) -> list[Any]:
    """What a program prints in a process of its own: in the tests' own, memory of other tests comes and goes."""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


METERED = """
import json, pathlib, sys
import numpy as np
from gemcut.util.process_memory import MemoryMeter
from tests.unit.util.test_memory import MEGABYTES, _touched
folder = pathlib.Path(sys.argv[1])
(folder / "weights").write_bytes(bytes(40 * MEGABYTES))
before = _touched(folder / "weights"), np.full(300 * MEGABYTES, 1, np.uint8)
del (freed := [np.full(200 * MEGABYTES, 1, np.uint8)])[:]  # past the peak that follows, but before it
meter = MemoryMeter()
(folder / "more").write_bytes(bytes(30 * MEGABYTES))
mapped, own = _touched(folder / "more"), np.full(60 * MEGABYTES, 1, np.uint8)
meter.look()
del own, mapped
use = meter.use()
print(json.dumps([len(before), len(freed), use.memory_before, use.own_memory, use.mapped_memory, use.peak_memory]))
"""


def test_a_meter_tells_own_memory_from_mapped_files_and_counts_nothing_from_before(tmp_path: Path) -> None:
    kept, freed, before, own, mapped, peak = alone(METERED, str(tmp_path))
    assert (kept, freed) == (2, 0)
    assert before > 300 * MEGABYTES
    assert own == pytest.approx(60 * MEGABYTES, rel=0.1)
    assert mapped == pytest.approx(30 * MEGABYTES, rel=0.1)
    assert peak == pytest.approx(90 * MEGABYTES, rel=0.15)


WITHOUT_A_DISK = """
import json, mmap, os
from gemcut.util.process_memory import MemoryMeter
from tests.unit.util.test_memory import MEGABYTES
meter = MemoryMeter()
with open(os.memfd_create("cache"), "w+b") as file:  # as a runtime may keep a cache of weights
    file.truncate(20 * MEGABYTES)
    with mmap.mmap(file.fileno(), 0) as view:
        view[:: 1 << 12] = b"1" * len(range(0, len(view), 1 << 12))
        use = meter.use()
print(json.dumps([use.own_memory, use.mapped_memory]))
"""


def test_memory_of_a_file_without_a_disk_is_the_process_own() -> None:
    own, mapped = alone(WITHOUT_A_DISK)
    assert own == pytest.approx(20 * MEGABYTES, rel=0.1)
    assert mapped < MEGABYTES
