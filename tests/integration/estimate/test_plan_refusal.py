"""An export that this machine can't do is refused before it begins: exit code 8, and nothing left behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gemcut.errors import LackingError
from gemcut.estimate import fit as room
from gemcut.estimate import resources as machine
from gemcut.estimate.fit import Room
from gemcut.estimate.resources import Machine, this_machine
from gemcut.pipeline.plan import held_by_killed_runs

from tests.support.files import small_disk

GIGABYTE = 10**9


def large_llama() -> Any:
    """Llama 2 7B but for its vocabulary."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=4096,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 13 GB that takes no room: its weights are a hole in a file. It is opened, and never read."""
    from gemcut.checkpoint import random

    folder, config = tmp_path_factory.mktemp("large") / "large", large_llama()
    folder.mkdir()
    random._write_tokenizer(folder, config.vocab_size, None)
    shapes, architecture, _ = random._parameters(config)
    import torch

    random._write_config(folder, config, architecture, torch.bfloat16)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (at, at + size)}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    return folder


def export(large: Path, out: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    words = ["export", large, "--target", "android-arm64", "-o", out]
    command = [sys.executable, "-m", "gemcut.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def test_memory_that_ulimit_keeps_back(large: Path, tmp_path: Path) -> None:
    limit = 5 * GIGABYTE // 2
    done = export(large, tmp_path / "bundle", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit,) * 2))
    assert done.returncode == 8, done.stderr
    assert "of memory (give or take 20%)" in done.stderr
    assert "ulimit -d" in done.stderr
    assert "hint: " in done.stderr
    assert "Loading the float model" not in done.stderr
    assert not list(tmp_path.iterdir())


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group of our own with a memory limit, of either version."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    group = (root / "memory" if first else root) / f"gemcut-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
    except OSError as error:
        shutil.rmtree(group, ignore_errors=True)
        pytest.skip(f"no control group with a memory limit can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


def test_memory_that_a_control_group_keeps_back(large: Path, tmp_path: Path) -> None:
    with memory_group(2 * GIGABYTE) as group:
        done = export(
            large, tmp_path / "bundle", preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        )
    assert done.returncode == 8, done.stderr
    assert "the memory limit of the control group" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small(large: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "64m"):
        refused = export(large, disk / "bundles" / "bundle")
        left = list(disk.iterdir())
    assert refused.returncode == 8, refused.stderr
    assert f"of disk at {disk / 'bundles'}" in refused.stderr
    assert "only 67.1 MB is free there" in refused.stderr
    assert not left


def test_plan_says_it_before(large: Path) -> None:
    words = ["plan", str(large), "--target", "android-arm64"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (5 * GIGABYTE // 2,) * 2)

    command = [sys.executable, "-m", "gemcut.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)
    assert done.returncode == 0, done.stderr
    assert "NO: gemcut export refuses" in done.stdout


def have(memory: float, disk: float) -> Machine:
    return Machine(int(memory * GIGABYTE), "a limit", int(disk * GIGABYTE))


@pytest.mark.parametrize(
    ("here", "fits"),
    [
        (have(13, 40), True),
        (have(11, 40), None),  # enough, if the estimate is right
        (have(9, 40), None),  # too little, if it is right
        (have(8, 40), False),
        (have(13, 13), None),
        (have(13, 11), None),  # enough where replies are short
        (have(13, 8), False),
    ],
)
def test_only_what_is_sure_is_refused(here: Machine, fits: bool | None, tmp_path: Path) -> None:
    asked = Room(10 * GIGABYTE, 10 * GIGABYTE, 12 * GIGABYTE, 10 * GIGABYTE, here)
    assert asked.fits is fits
    if fits is False:
        with pytest.raises(LackingError, match=r"about 1[02]\.0 GB .* \(give or take 20%\)"):
            room.refuse(asked, tmp_path / "bundle")
    else:
        room.refuse(asked, tmp_path / "bundle")


def test_a_small_export_is_not_refused_by_an_estimate(tmp_path: Path) -> None:
    nothing = Machine(0, "a limit", 0)
    assert not Room(10**7, 10**7, 10**7, 10**7, nothing).lacks_disk


def test_what_a_killed_run_left_is_not_missing(tmp_path: Path) -> None:
    left = tmp_path / ".bundle.partial-7" / "kept"
    left.mkdir(parents=True)
    (left / "model.pte").write_bytes(bytes(1000))
    os.link(left / "model.pte", left / "again.pte")
    assert held_by_killed_runs(tmp_path / "bundle") == 1000


@pytest.mark.parametrize(
    ("lines", "folder", "files"),
    [
        ("0::/box/inner\n", "box", {"memory.max": 3000, "memory.current": 2000, "memory.stat": "inactive_file 500\n"}),
        (
            "4:memory:/box/inner\n0::/\n",
            "memory/box",
            {
                "memory.limit_in_bytes": 3000,
                "memory.usage_in_bytes": 2000,
                "memory.stat": "total_inactive_file 500\n",
            },
        ),
        ("4:cpu,memory:/not/seen/here\n", "memory", {"memory.limit_in_bytes": 1500, "memory.usage_in_bytes": 0}),
    ],
)
def test_limits_of_control_groups_of_both_versions(
    lines: str, folder: str, files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of a group above counts; pages of files don't, and neither does what stands for no limit."""
    groups = tmp_path / "groups"
    inner = groups / folder / "inner"
    inner.mkdir(parents=True)
    for name, value in files.items():
        (groups / folder / name).write_text(f"{value}\n" if isinstance(value, int) else value)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.limit_in_bytes").write_text(f"{0x7FFFFFFFFFFFF000}\n")
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_CGROUP", groups)
    ((left, why),) = machine._cgroup_limits()
    assert left == 1500
    assert str(groups / folder) in why


def test_this_machine_has_something(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "not" / "there")
    assert 0 < found.memory < 1 << 50
    assert found.disk == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
