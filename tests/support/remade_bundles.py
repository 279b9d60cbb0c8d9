"""Programs that old releases can't load, in bundles, and the libraries that apps ship."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.manifest import Manifest, manifest_bytes, side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.errors import LackingError

from tests.support.exports import Exported

LATE = "aten::var_mean.correction_out"  # ExecuTorch 1.3.1 has it, 1.1.0 has not
Remade = Callable[[Path, str], Path]


@pytest.fixture(scope="module", autouse=True)
def device_cache(own_cache: Path, kept_cache: Path) -> Iterator[Path]:
    """Libraries are fetched into, and runners built in, the cache that is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(kept_cache))
        yield kept_cache


def _write(path: Path, module: Any, inputs: tuple[Any, ...]) -> Path:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(
        torch.export.export(module.eval(), inputs),
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    path.write_bytes(lowered.to_executorch().buffer)
    return path


@pytest.fixture(scope="session")
def late_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that calls ``LATE``, and XNNPACK for a matrix product."""
    import torch

    class Late(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.var_mean(self.linear(x), dim=-1, correction=1)[0]

    return _write(tmp_path_factory.mktemp("late") / "model.pte", Late(), (torch.ones(3, 8),))


@pytest.fixture(scope="session")
def sine_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose XNNPACK blob has a node that ExecuTorch 1.0 doesn't know; nothing stands outside of it."""
    import torch

    class Sine(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x) + x

    return _write(tmp_path_factory.mktemp("sine") / "model.pte", Sine(), (torch.ones(3, 8),))


def remake(source: Path, out: Path, **changes: Any) -> Path:
    """A copy of a bundle with another manifest, and its hash."""
    if source != out:
        shutil.copytree(source, out)
    with open_bundle(out) as opened:
        values = opened.manifest.model_dump() | changes
    files = {
        path.relative_to(out).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "manifest.sha256")
    }
    written = manifest_bytes(Manifest.model_validate(values | {"files": files}))
    (out / "manifest.json").write_bytes(written)
    (out / "manifest.sha256").write_bytes(side_bytes(written))
    return out


@pytest.fixture(scope="session")
def with_program(sample_int4: Exported, tmp_path_factory: pytest.TempPathFactory) -> Remade:
    """``with_program(program, name)``: the sample's bundle with another program in it, its manifest saying so."""

    def make(program: Path, name: str) -> Path:
        from executorch.exir._serialize._program import deserialize_pte_binary
        from gemcut.runtimes.executorch.requirements import read_requirements

        out = tmp_path_factory.mktemp(name) / "bundle"
        shutil.copytree(sample_int4.path, out)
        shutil.copyfile(program, out / "model.pte")
        needs = read_requirements(deserialize_pte_binary(program.read_bytes()).program)
        return remake(out, out, operators=needs.operators, kernels=needs.kernels, delegates=needs.delegates)

    return make


@pytest.fixture(scope="session")
def late_bundle(late_program: Path, with_program: Remade) -> Path:
    return with_program(late_program, "late")


@pytest.fixture(scope="session")
def sine_bundle(sine_program: Path, with_program: Remade) -> Path:
    return with_program(sine_program, "sine")


@pytest.fixture(scope="module")
def package(device_cache: Path) -> Callable[[str], Path]:
    """``package("react-native-executorch@0.8.4")``: its folder, fetched by npm, or the test is skipped."""
    from gemcut.util.fetching import npm

    def fetch(named: str) -> Path:
        name, _, version = named.rpartition("@")
        try:
            return npm(name, version)
        except LackingError as error:
            pytest.skip(f"{named} can't be fetched: {error.message}; {error.hint}")

    return fetch


@pytest.fixture
def loading() -> None:
    """Skips where this machine can't load an Android library."""
    from gemcut.devices import make_device

    lacking = [need for need in make_device("android-lib").needs("executorch") if not need.optional]
    if lacking:
        pytest.skip(f"{lacking[0].what} is not here: {lacking[0].command}")
