"""Uncompressed zips whose members can be memory-mapped, written so that equal inputs give equal bytes.

Every member is stored, starts at a multiple of 16 KiB (the largest page size of arm64 Android), and carries
the date 1980-01-01 and mode 0644. The padding is an extra field of the local header, as zipalign does it.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import ConformanceError
from ..util.progress import Progress

ALIGNMENT = 16 * 1024
CHUNK = 1 << 20
PADDING_ID = 0xD935  # The id that Android's zipalign gives to its alignment field.
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ZIP64_FIELD = 20
UNREADABLE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    OSError,
)

Opener = Callable[[], IO[bytes]]


def _member(name: str, size: int, offset: int) -> zipfile.ZipInfo:
    """The header of a member whose local header stands at ``offset``, padded so that its data is aligned."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    info.file_size = size
    header = _LOCAL_HEADER.size + len(name.encode())
    # The same rule as zipfile's: a zip64 field if 1.05 times the size is past the limit.
    header += _ZIP64_FIELD if size * 1.05 > zipfile.ZIP64_LIMIT else 0
    data = -(-(offset + header + 4) // ALIGNMENT) * ALIGNMENT
    padding = data - offset - header - 4
    info.extra = struct.pack("<HH", PADDING_ID, padding) + bytes(padding)
    return info


def write_archive(
    sink: IO[bytes], members: Mapping[str, tuple[int, Opener]], progress: Progress | None = None
) -> dict[str, str]:
    """Write an archive, with its members in the order of their names.

    Args:
        sink: A binary file, open for writing at its beginning.
        members: By name, each one's size in bytes and how to open it.
        progress: Told how many bytes are done.

    Returns:
        The SHA-256 of each member's content, by name.

    Raises:
        ValueError: A member's length differs from its stated size.
        OSError: The archive can't be written.
    """
    hashes: dict[str, str] = {}
    done, total = 0, sum(size for size, _ in members.values())
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in sorted(members):
            size, opener = members[name]
            info = _member(name, size, sink.tell())
            digest = hashlib.sha256()
            written = 0
            with opener() as source, archive.open(info, "w") as target:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    written += target.write(chunk)
                    if progress is not None:
                        progress.update(done + written, total, name)
            done += written
            if written != size:
                raise ValueError(f"{name}: {size:,} bytes were expected, {written:,} were found")
            info.extra = b""  # The central directory needs no padding.
            hashes[name] = digest.hexdigest()
    return hashes


class _Comparison(io.RawIOBase):
    """A file that holds what is written to it against a file on disk, and keeps nothing.

    ``differing`` maps the offset of each write that differed to its length. zipfile writes a member's
    header twice, the second time with its checksum: the later write decides.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._at = 0
        self.end = 0
        self.differing: dict[int, int] = {}

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.end}[whence]
        return self._at

    def write(self, data: Any) -> int:
        wanted = bytes(data)
        self._file.seek(self._at)
        if self._file.read(len(wanted)) == wanted:
            self.differing.pop(self._at, None)
        else:
            self.differing[self._at] = len(wanted)
        self._at += len(wanted)
        self.end = max(self.end, self._at)
        return len(wanted)

    def close(self) -> None:
        self._file.close()
        super().close()


def data_offset(archive: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return the byte of an archive at which a member's data begins.

    Args:
        archive: The archive, open for reading.
        info: The member, as the archive's directory has it.

    Raises:
        zipfile.BadZipFile: There is no local header where the directory says.
    """
    archive.seek(info.header_offset)
    header = archive.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no local header for {info.filename}")
    fields = _LOCAL_HEADER.unpack(header)
    return info.header_offset + _LOCAL_HEADER.size + int(fields[9]) + int(fields[10])


def check_archive(path: Path, progress: Progress | None = None) -> None:
    """Check that an archive is, byte for byte, what packing its members again would give.

    That covers headers, padding and directory, which no member's hash does.

    Args:
        path: The archive.
        progress: Told how many bytes are done.

    Raises:
        ConformanceError: It isn't; the message names the member nearest to the first byte that differs.
    """
    hint = "copy or export the bundle again"
    comparison = _Comparison(path)
    try:
        with zipfile.ZipFile(path) as archive:
            starts = {info.header_offset: info.filename for info in archive.infolist()}
            members: dict[str, tuple[int, Opener]] = {
                info.filename: (info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]
                for info in archive.infolist()
            }
            write_archive(comparison, members, progress)  # type: ignore[arg-type]
    except UNREADABLE as error:
        raise ConformanceError(f"{path}: not readable as a zip: {error}", hint=hint) from error
    finally:
        comparison.close()
    if comparison.differing:
        at = min(comparison.differing)
        before = [start for start in starts if start <= at]
        near = f"the header of {starts[max(before)]}" if before else "its beginning"
        if at > max(starts, default=0) and not any(start == at for start in starts):
            near = "its directory"
        raise ConformanceError(f"{path}: {near} was changed (at byte {at})", hint=hint)
    if comparison.end != path.stat().st_size:
        raise ConformanceError(f"{path}: {path.stat().st_size} bytes instead of {comparison.end}", hint=hint)
