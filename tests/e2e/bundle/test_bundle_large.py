"""A bundle past 4 GiB, where 32-bit offsets end: packed, opened, verified, and a changed byte at its end found."""

from __future__ import annotations

from pathlib import Path

import pytest
from gemcut.bundle.archive import ALIGNMENT
from gemcut.bundle.manifest import Manifest
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import Format, pack
from gemcut.errors import ConformanceError

SIZE = (1 << 32) + (1 << 20) + 7


@pytest.mark.large
@pytest.mark.parametrize("format", ["dir", "zip"])
def test_a_program_past_four_gibibytes(
    tmp_path: Path, files: dict[str, Path | bytes], manifest: Manifest, format: Format
) -> None:
    program = tmp_path / "large.pte"
    with program.open("wb") as file:  # A hole, but for both ends.
        file.write(b"head")
        file.seek(SIZE - 4)
        file.write(b"tail")
    out = pack({**files, "model.pte": program}, manifest, tmp_path / "out.gemcut", format)
    program.unlink()
    with open_bundle(out) as bundle:
        assert bundle.manifest.files["model.pte"].size == SIZE
        path, offset, size = bundle.locate("model.pte")
        assert (offset % ALIGNMENT, size) == (0, SIZE)
        assert _at(path, offset, 4) == b"head"
        assert _at(path, offset + SIZE - 4, 4) == b"tail"
        bundle.verify()
        behind = [name for name in bundle.manifest.files if name > "model.pte"]
        assert behind, "members whose own offsets are past the limit"
        assert all(bundle.read(name) == _content(files[name]) for name in behind)
    with path.open("r+b") as file:
        file.seek(offset + SIZE - 1)
        file.write(b"L")
    with open_bundle(out) as bundle, pytest.raises(ConformanceError, match=r"model\.pte"):
        bundle.verify()


def _at(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
