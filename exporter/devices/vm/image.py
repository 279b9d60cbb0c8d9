"""The virtual machine's kernel and first root file system: Debian's, fetched through mmdebstrap (which is apt).

The packages go into a separate apt root for arm64, so that this machine's sources, lists and packages stay as they are;
apt checks their signatures. Nothing in them is run here. The kernel is kept from what is unpacked, and an initrd is
made (a cpio archive, kernel Documentation/driver-api/early-userspace/buffer-format.rst): busybox, adbd with the
libraries that it names, four modules, and ``init.sh``.
"""

from __future__ import annotations

import fnmatch
import gzip
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConformanceError, LackingError
from ...util import processes
from ...util.fetching import apt_command, build_home, making, replace
from ...util.progress import Progress
from ..adb_python import tree, tree_home
from ..arm64.sysroot import Wheels

SUITE = "trixie"  # Debian 13, the first with adbd
PACKAGES = ("adbd", "busybox-static", "linux-image-cloud-arm64")
NEEDED = ("mmdebstrap", "debian-archive-keyring", "binutils")
MODULES = ("failover.ko", "net_failover.ko", "virtio_net.ko", "virtio_blk.ko")  # in the order of their loading
SECONDS = 600.0
_ADBD = "usr/lib/android-sdk/platform-tools/adbd"
_BUSYBOX = "usr/bin/busybox"
_LIBRARIES = ("usr/lib/aarch64-linux-gnu/android/", "usr/lib/aarch64-linux-gnu/")
_LAYOUT = "1"  # version of what ``_make`` makes
_ROOM, _SMALL = 1.2, 32 << 20  # for a file system's own tables
_EXECUTABLE, _PLAIN, _FOLDER = 0o100755, 0o100644, 0o040755


@dataclass(frozen=True)
class Image:
    """What a machine boots.

    Attributes:
        kernel: The kernel's file.
        initrd: The file of the first root file system.
    """

    kernel: Path
    initrd: Path


def image(progress: Progress) -> Image:
    """Return the image; it is fetched and built if it isn't in the cache: some 60 MB, 10 to 20 seconds.

    Raises:
        LackingError: mmdebstrap is missing or fails: there is no network, or no permission.
    """
    init = (Path(__file__).parent / "init.sh").read_bytes()
    home = build_home("vm", SUITE, *PACKAGES, *MODULES, init, _LAYOUT)
    if not home.is_dir():
        progress.note(f"fetching Debian {SUITE}'s arm64 kernel and adbd")
        with making(home) as place:
            made = place / "image"
            made.mkdir()
            _fetch(place / "root.tar")
            _make(place / "root.tar", init, place, made)
            replace(made, home)
    return Image(home / "vmlinuz", home / "initrd.gz")


def _fetch(out: Path) -> None:
    """Let mmdebstrap download and unpack the packages, with what they depend on, into a tar archive."""
    command = (
        *("mmdebstrap", "--variant=extract", "--architectures=arm64", "--skip=check/qemu"),
        *("--aptopt=APT::Install-Recommends false", f"--include={','.join(PACKAGES)}", SUITE, str(out)),
    )
    hint = f"run {apt_command(NEEDED)}; it also needs a network, and root or user namespaces"
    try:
        done = processes.run(command, SECONDS)
    except ConformanceError as error:
        raise LackingError(
            f"Debian's arm64 packages weren't fetched within {SECONDS:.0f} seconds", hint=hint
        ) from error
    if done.code:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise LackingError(f"mmdebstrap failed: {lines[-1] if lines else 'it says nothing'}", hint=hint)


def _make(archive: Path, init: bytes, work: Path, out: Path) -> None:
    with tarfile.open(archive) as packed:
        members = {member.name.removeprefix("./"): member for member in packed}

        def read(name: str) -> bytes:
            found = members.get(name)
            file = packed.extractfile(found) if found else None  # it follows links within the archive
            if file is None:
                raise LackingError(
                    f"Debian {SUITE} for arm64 has no {name}", hint="report this: Debian's packages changed"
                )
            return file.read()

        def one(pattern: str) -> str:
            return next((name for name in sorted(members) if fnmatch.fnmatchcase(name, pattern)), pattern)

        files = {"init": init, "bin/busybox": read(_BUSYBOX), "bin/adbd": read(_ADBD)}
        files |= _libraries(files["bin/adbd"], read, members, work)
        for module in MODULES:
            files[f"modules/{module}"] = lzma.decompress(read(one(f"usr/lib/modules/*/{module}.xz")))
        files["modules/order"] = "".join(f"{module}\n" for module in MODULES).encode()
        (out / "vmlinuz").write_bytes(read(one("boot/vmlinuz-*")))
    (out / "initrd.gz").write_bytes(gzip.compress(_cpio(files), compresslevel=6, mtime=0))


def _libraries(
    program: bytes, read: Callable[[str], bytes], members: Mapping[str, object], work: Path
) -> dict[str, bytes]:
    """The shared libraries that a program names, and those that these name, all in /lib, where the loader looks."""
    found: dict[str, bytes] = {}
    todo = [program]
    while todo:
        for name in _needed(todo.pop(), work):
            if f"lib/{name}" not in found:
                path = next((folder + name for folder in _LIBRARIES if folder + name in members), name)
                found[f"lib/{name}"] = read(path)
                todo.append(found[f"lib/{name}"])
    return found


def _needed(program: bytes, work: Path) -> list[str]:
    (path := work / "elf").write_bytes(program)
    said = processes.run(("readelf", "--dynamic", "--wide", str(path)), 30, env={"LC_ALL": "C"})
    return re.findall(r"\(NEEDED\).*\[(.+)\]", said.stdout)


def _cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive in cpio's 'newc' format, which the kernel unpacks; everything belongs to root."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, _FOLDER, b"") for name in folders]
    entries += [(name, _PLAIN if name.endswith(".ko") else _EXECUTABLE, data) for name, data in files.items()]
    return b"".join(part for entry in _numbered(entries) for part in entry)


def _numbered(entries: list[tuple[str, int, bytes]]) -> Iterator[tuple[bytes, ...]]:
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, no checksum
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        yield head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)


def mke2fs() -> str:
    """Return the command that makes an ext4 file system; it may be in a folder that only root's path has.

    Raises:
        LackingError: It isn't installed.
    """
    found = shutil.which("mke2fs", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    if found is None:
        raise LackingError("mke2fs is not installed", hint=apt_command(("e2fsprogs",)))
    return found


def make_disk(path: Path, size: int, content: Path | None = None) -> None:
    """Make a raw disk with an ext4 file system; it is sparse, so that it takes only what is written to it.

    Args:
        path: The file to write.
        size: The most bytes that the disk can grow to.
        content: A folder whose files are put on the disk.

    Raises:
        LackingError: The disk can't be made; the message has mke2fs's reason.
    """
    with path.open("wb") as disk:
        disk.truncate(size)
    filled = ("-d", str(content)) if content else ()
    # Every block counts as trimmed and no table is zeroed: the file is new. Nothing survives, so no journal.
    command = (mke2fs(), "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,root_owner=0:0")
    done = processes.run((*command, "-m", "0", *filled, str(path)), SECONDS)
    if done.code:
        raise LackingError(
            f"a disk for the virtual machine can't be made: {done.stderr.strip()}",
            hint="check that the disk here isn't full: df",
        )


def python_disk(wheels: Wheels, progress: Progress) -> Path:
    """Return a disk with the tree of ``adb_python``, made if it isn't in the cache.

    Raises:
        LackingError: Something can't be fetched or made.
    """
    home = tree_home("vm-python", wheels)
    if not home.is_dir():
        with making(home) as place:
            content = tree(wheels, progress, place / "tree")
            progress.note("making a disk of the arm64 Python")
            (place / "disk").mkdir()
            taken = sum(path.lstat().st_blocks * 512 for path in content.rglob("*"))
            make_disk(place / "disk" / "python.img", int(taken * _ROOM) + _SMALL, content)
            replace(place / "disk", home)
    return home / "python.img"
