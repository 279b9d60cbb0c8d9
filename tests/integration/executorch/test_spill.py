"""Constants that lie in files while a program is lowered: the program is the same to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gemcut.quantize.methods.round_to_nearest import METHOD
from gemcut.quantize.recipe import Scheme
from gemcut.runtimes.executorch.delegates.xnnpack import DELEGATE
from gemcut.runtimes.executorch.graph.decoder import Traced
from gemcut.runtimes.executorch.lower import _to_edge, _to_program
from gemcut.runtimes.executorch.patches import constants_on_disk as spill
from gemcut.runtimes.executorch.quantized_modules import QuantizedEmbedding, QuantizedLinear, stored_weight
from gemcut.util.file_tensors import Scratch

INT8 = Scheme("int8", "int8")
INT4 = Scheme("int4", "int4", 32, "int8-dynamic")
CHANNELS = Scheme("channels", "int4", 0, "int8-dynamic")


class Net(torch.nn.Module):
    """An embedding that is gathered from and two linears, quantized into ``scratch``."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embedding = QuantizedEmbedding(stored_weight(torch.nn.Embedding(300, 64), INT8, scratch), 1.0)
        self.up = QuantizedLinear(torch.nn.Linear(64, 96), INT4, scratch)
        self.down = QuantizedLinear(torch.nn.Linear(96, 48), CHANNELS, scratch)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(self.embedding(ids))))


def lowered(net: Any) -> Any:
    import executorch.exir  # defines the gather
    import executorch.kernels.quantized  # noqa: F401  (its kernel)

    program = torch.export.export(net.eval(), (torch.arange(5)[None],), strict=False)
    partitioners = DELEGATE.partitioners(program)
    return _to_program(_to_edge(Traced(net, program, None), {}, partitioners))  # type: ignore[arg-type]


def test_program_is_the_same_with_its_constants_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bytes(lowered(Net(Scratch(tmp_path))).buffer)
    monkeypatch.setattr(spill, "SMALLEST", 64)
    monkeypatch.setattr(spill, "_PIECE", 640)  # some rows at a time
    monkeypatch.setattr("gemcut.util.file_tensors.SMALLEST", 1)
    out = tmp_path / "model.pte"
    with spill.constants_in_files(tmp_path):
        program = lowered(Net(Scratch(tmp_path)))
        (folder,) = tmp_path.glob("constants-*")
        assert sum(1 for _ in folder.iterdir()) >= 3, "embedding and both linears"
        with out.open("wb") as file:
            program.write_to_file(file)
    assert out.read_bytes() == plain
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model.pte"], "scratch files have no names"


class Halves(torch.nn.Module):
    """Two linears whose weights lie in one storage, as those of a mapped file and of stacked experts do."""

    def __init__(self) -> None:
        super().__init__()
        both = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(4))
        self.first, self.second = torch.nn.Linear(5, 5), torch.nn.Linear(5, 5, bias=False)
        for linear, weight in zip((self.first, self.second), both, strict=True):
            linear.weight = torch.nn.Parameter(weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(ids.float())))


def test_weights_in_one_storage_stay_apart(tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    torch.manual_seed(4)
    net = Halves()
    out = tmp_path / "model.pte"
    with spill.constants_in_files(tmp_path), out.open("wb") as file:
        lowered(net).write_to_file(file)
    method = Runtime.get().load_program(out).load_method("forward")
    ids = torch.arange(5)[None]
    assert torch.allclose(method.execute([ids])[0], net(ids), atol=1e-4)


def test_what_is_patched_is_put_back(tmp_path: Path) -> None:
    from executorch.backends.xnnpack.operators import node_visitor
    from executorch.exir.emit import _emitter

    before = vars(node_visitor.NodeVisitor)["convert_to_qc4w"]
    with pytest.raises(OSError, match=r"lower/model\.pte"), spill.constants_in_files(tmp_path):
        (tmp_path / "lower" / "model.pte").write_bytes(b"")
    assert vars(node_visitor.NodeVisitor)["convert_to_qc4w"] is before
    assert "bytes" not in vars(_emitter)
    assert "bytes" not in vars(node_visitor)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", [INT8, INT4, CHANNELS])
def test_rows_are_quantized_alike_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: Scheme) -> None:
    monkeypatch.setattr("gemcut.quantize.methods.base.PIECE", 64 * 7)
    weight = torch.randn(50, 64).bfloat16()
    values, scales = METHOD.quantize_rows(weight, scheme, Scratch(tmp_path))
    whole, factors = METHOD.quantize(weight, scheme)
    assert torch.equal(values, whole)
    assert torch.equal(scales, factors)
