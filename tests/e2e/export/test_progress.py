"""Long steps say how far they are: never back, never past the end."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.hashing import hash_file
from gemcut.bundle.manifest import Manifest, RecipeRecord, RuntimeRecord, SourceRecord
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Format, Staging
from gemcut.util.progress import Silent, SubProgress


class Told(Silent):
    """Progress that remembers the shares it was told, and of what."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.what: list[str] = []

    def update(self, done: float, total: float, what: str = "") -> None:
        self.shares.append(done / total)
        self.what.append(what)

    def check(self, first: float = 0.0, last: float = 1.0) -> None:
        """Holds the shares against what any progress must be."""
        assert self.shares == sorted(self.shares)
        assert self.shares[0] >= first - 1e-9
        assert self.shares[-1] == pytest.approx(last)


MANIFEST = Manifest(
    model=SourceRecord(name="m", source="m", model_type="gemma3_text", parameters=1),
    target="t",
    runtime=RuntimeRecord(name="executorch", version="1"),
    exporter="0",
    recipe=RecipeRecord(name="r"),
    program="model.pte",
    context=256,
    prefill_chunk=128,
    vocab_size=512,
)


def test_a_large_file_is_hashed_in_pieces(tmp_path: Path) -> None:
    path, told = tmp_path / "large", Told()
    data = bytes(range(256)) * (40 << 12)
    path.write_bytes(data)
    record = hash_file(path, told)
    assert (record.sha256, record.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert len(told.shares) == 3
    told.check(0.4)
    path.write_bytes(b"")
    assert hash_file(path, told).sha256 == hashlib.sha256(b"").hexdigest()


def test_a_portion_is_a_part_of_the_whole() -> None:
    told = Told()
    for first, last in ((0.0, 0.25), (0.25, 1.0)):
        part = SubProgress(told, first, last)
        for done in range(5):
            part.update(done, 4, "x")
        part.update(1, 0)
    assert told.shares[:6] == [0.0, 0.0625, 0.125, 0.1875, 0.25, 0.25]
    told.check()


@pytest.mark.parametrize("form", ["dir", "zip"])
def test_publishing_and_checking_a_bundle(form: Format, tmp_path: Path) -> None:
    told, out = Told(), tmp_path / "out"
    with Staging(out, form) as staging:
        for name in ("model.pte", "a", "b"):
            staging.add(name, bytes(3 << 20))
        staging.publish(MANIFEST, told)
    told.check()
    assert len(told.shares) >= 9
    again = Told()
    with open_bundle(out) as bundle:
        bundle.verify(again)
    again.check()
    assert {"model.pte", "a", "b"} <= set(again.what)


def test_lowering_counts_the_constants_that_it_takes() -> None:
    from gemcut.runtimes.executorch.lower import _LoweringProgress

    told = Told()
    lowering = _LoweringProgress(told, 1000)
    lowering.step("partitioning")
    for size in (100, 300, 400):
        lowering.constant(size)
    lowering.step("emitting")
    lowering.constant(900)  # more than was expected
    lowering.step("writing", 0.95)
    told.check(0.0, 0.95)
    assert told.shares[2] == pytest.approx(0.38)
    assert list(dict.fromkeys(told.what)) == ["partitioning", "emitting", "writing"]


def test_quantizing_and_loading_say_each_tensor(tiny: Path, tmp_path: Path) -> None:
    from gemcut.checkpoint.mapped import map_float_model
    from gemcut.checkpoint.opening import open_checkpoint
    from gemcut.quantize.recipe import load_recipe
    from gemcut.runtimes.executorch.apply_recipe import apply_recipe
    from gemcut.runtimes.executorch.delegates.xnnpack import DELEGATE
    from gemcut.util.file_tensors import Scratch

    loading, quantizing, hashing = Told(), Told(), Told()
    checkpoint: Any = open_checkpoint(str(tiny))
    model = map_float_model(checkpoint, Scratch(tmp_path), loading)
    loading.check(0.0, loading.shares[-1])
    assert len(loading.shares) == len(dict(model.named_parameters()))
    apply_recipe(model, load_recipe("int8"), DELEGATE.check_scheme, progress=quantizing)
    assert quantizing.shares[0] == 0.0
    quantizing.check(0.0, quantizing.shares[-1])
    assert 0.5 < quantizing.shares[-1] < 1.0, "the last tensor has begun"
    checkpoint.hash_sources(hashing)
    assert vars(checkpoint)["hashes"] == {**checkpoint.hashes}
