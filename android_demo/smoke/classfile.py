"""Java 8 class files for dx 1.7, which takes those of Java 6 (version 50), and what it writes for Android 8 and later.

Formats: the Java Virtual Machine Specification, chapter 4; source.android.com's "Dalvik executable format".
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

_JAVA_6 = 50
_METHOD, _INTERFACE_METHOD = 10, 11
_TWO_WORDS = {9, 10, 11, 12, 17, 18}
_LIST_OF = "compat/ListOf"
_DEX_035, _DEX_037 = b"dex\n035\0", b"dex\n037\0"


def lower_jar(jar: Path, out: Path) -> None:
    """Writes a jar whose classes dx takes: see ``lower``."""
    with zipfile.ZipFile(jar) as packed, zipfile.ZipFile(out, "w") as lowered:
        for info in packed.infolist():
            data = packed.read(info)
            if info.filename.endswith(".class") and not info.filename.startswith(("META-INF/", "module-info")):
                lowered.writestr(info.filename, lower(data, info.filename))


def lower(data: bytes, name: str) -> bytes:
    """A class file of Java 8 as one of Java 6, with calls of ``List.of`` led to ``compat.ListOf``.

    Only the version's number keeps most of Java 8 from dx 1.7; what it really doesn't know is refused.

    Raises:
        ValueError: The class uses lambdas or method references (invokedynamic).
    """
    pool, end = _pool(data, name)
    patched, led = bytearray(data), False
    for entry in pool:
        if entry and entry[0] == _INTERFACE_METHOD and _names(pool, entry) == (b"java/util/List", b"of"):
            patched[entry[1]] = _METHOD
            struct.pack_into(">H", patched, entry[1] + 1, len(pool) + 1)
            led = True
    if led:
        text = _LIST_OF.encode()
        patched[end:end] = struct.pack(">BH", 1, len(text)) + text + struct.pack(">BH", 7, len(pool))
        struct.pack_into(">H", patched, 8, len(pool) + 2)
    struct.pack_into(">H", patched, 6, _JAVA_6)
    return bytes(patched)


def _pool(data: bytes, name: str) -> tuple[list[tuple | None], int]:
    """The constant pool: (tag, offset, content...) by index, and where it ends."""
    (count,) = struct.unpack_from(">H", data, 8)
    pool: list[tuple | None] = [None] * count
    at, index = 10, 1
    while index < count:
        tag = data[at]
        if tag in (17, 18):
            raise ValueError(f"{name} uses a lambda or method reference, which dx 1.7 doesn't know")
        if tag == 1:
            (length,) = struct.unpack_from(">H", data, at + 1)
            pool[index] = (tag, at, data[at + 3 : at + 3 + length])
            at += 3 + length
        elif tag in (5, 6):  # long and double take two entries
            pool[index] = (tag, at)
            at, index = at + 9, index + 1
        elif tag in (7, 8, 16, 19, 20):
            pool[index] = (tag, at, struct.unpack_from(">H", data, at + 1)[0])
            at += 3
        elif tag in _TWO_WORDS:
            pool[index] = (tag, at, *struct.unpack_from(">HH", data, at + 1))
            at += 5
        else:
            pool[index] = (tag, at)
            at += 4 if tag == 15 else 5
        index += 1
    return pool, at


def _names(pool: list[tuple | None], entry: tuple) -> tuple[bytes, bytes]:
    """The class and the name of a method that is called."""
    owner, described = pool[entry[2]], pool[entry[3]]
    assert owner
    assert described
    return pool[owner[2]][2], pool[described[2]][2]  # type: ignore[index]


def raise_dex(dex: Path) -> None:
    """Marks a dex file as of version 037, which knows default methods of interfaces (Android 7).

    The eight bytes of the version lie outside of the file's own checksum and signature.

    Raises:
        ValueError: It isn't of version 035, which dx 1.7 writes.
    """
    data = dex.read_bytes()
    if not data.startswith(_DEX_035):
        raise ValueError(f"{dex.name} is no dex file of version 035")
    dex.write_bytes(_DEX_037 + data[8:])
