"""Looking at ``.pte`` programs without ExecuTorch."""

from __future__ import annotations

import filecmp
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConformanceError
from ..base import Inspector

if TYPE_CHECKING:
    from ...bundle.manifest import Manifest
    from ...bundle.reader import Bundle
    from ...compat.needs import Requirement


# ExecuTorch's extended header (schema/extended_header.h): after the flatbuffer's own first eight bytes "eh00", the
# header's length, the flatbuffer's size, and where the segments begin; little-endian. Segments hold the constants and
# what delegates compiled.
_HEADER = struct.Struct("<8x4sIQQ")
_MAGIC = b"eh00"
_CHUNK = 1 << 20


class ExecuTorchInspector(Inspector):
    """See ``Inspector``."""

    def needs(self, bundle: Bundle) -> set[Requirement]:
        """See ``Inspector``."""
        from ...compat.needs import Requirement, read_executorch

        delegates = {Requirement("backend", name) for name in bundle.manifest.delegates}
        return delegates | set(read_executorch(bundle.program))

    def same_program(self, proven: Path, sealed: Path) -> None:
        """See ``Inspector``; compares the whole files: everything in a ``.pte`` runs."""
        if not filecmp.cmp(proven, sealed, shallow=False):
            raise ConformanceError(
                f"{sealed.name} is not the program that was proven.", hint="Export the bundle again."
            )

    def sections(self, bundle: Bundle) -> Mapping[str, tuple[int, str]]:
        """See ``Inspector``: the flatbuffer, and the segments behind it."""
        return _sections(*bundle.locate(bundle.manifest.program))

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """See ``Inspector``."""
        from ...compat.oldest import oldest_loading

        return oldest_loading(program, (*manifest.operators, *manifest.kernels), tuple(manifest.delegates))


def _sections(path: Path, offset: int, length: int) -> dict[str, tuple[int, str]]:
    """The flatbuffer and the segments of a ``.pte``; nothing if it is too old to have the header that places them."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return {}
        magic, _, graph, segments = _HEADER.unpack(head)
        if magic != _MAGIC or not _HEADER.size < graph <= segments <= length:
            return {}
        found = {}
        for name, begin, end in (("graph", 0, segments), ("constants and delegates", segments, length)):
            file.seek(offset + begin)
            digest, left = hashlib.sha256(), end - begin
            while left:
                chunk = file.read(min(left, _CHUNK))
                digest.update(chunk)
                left -= len(chunk)
            found[name] = (end - begin, digest.hexdigest())
    return found
