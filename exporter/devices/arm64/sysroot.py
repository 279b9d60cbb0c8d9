"""What arm64 code finds under user-mode emulation: Debian's arm64 libraries and Python, wheels, and a processor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...errors import ConformanceError, LackingError
from ...util import fetching
from ...util.progress import Progress
from .profiles import Profile

SUITE = "bookworm"  # with Python 3.11, which the wheels are for (``fetching.PYTHON``)
PACKAGES = (
    "python3.11-minimal",
    "libpython3.11-stdlib",
    "libstdc++6",
    "libgomp1",
    "libatomic1",
    "libc6",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libsqlite3-0",
)
# Where Debian's cross compiler has arm64's C and C++ libraries: enough for a program without Python.
CROSS = Path("/usr/aarch64-linux-gnu")
TAG = "manylinux_2_28_aarch64"
SECONDS = 600.0
Wheels = Sequence[tuple[str, str]]
_TAIL = 3
# Linked from the root into a prefix; the rest, such as /tmp and /dev, stays the host's.
_LINKED = ("bin", "etc", "lib", "lib64", "sbin", "usr")


def sysroot_home() -> Path:
    """Return where Debian's root is cached; it need not exist yet."""
    return fetching.build_home("sysroot", SUITE, *PACKAGES)


def sysroot(progress: Progress) -> Path:
    """Return Debian's arm64 root with Python 3.11, its standard library, and C and C++ libraries, made if needed.

    Nothing in it is run while it is made.

    Raises:
        LackingError: mmdebstrap is missing or fails, or this user isn't root and can't use sudo without a password.
    """
    home = sysroot_home()
    if home.is_dir():
        return home
    if shutil.which("mmdebstrap") is None:
        raise LackingError("mmdebstrap is not installed", hint=fetching.apt_command(("mmdebstrap", "arch-test")))
    if not fetching.may_install():
        raise LackingError(
            "making Debian's arm64 root needs root, or sudo without a password",
            hint="run sudo GEMCUT_CACHE=... gemcut devices setup arm64-user, with a cache that both users can read",
        )
    progress.note(f"fetching Debian {SUITE}'s arm64 Python with mmdebstrap")
    with fetching.making(home) as place:
        _debootstrap(place / "root")
        fetching.replace(place / "root", home)
    return home


def _debootstrap(root: Path) -> None:
    command = (
        *("mmdebstrap", "--mode=root", "--variant=extract", "--architectures=arm64", "--skip=check/qemu"),
        *(f"--include={','.join(PACKAGES)}", SUITE, str(root)),
    )
    try:
        done = fetching.as_root(command, SECONDS)
        if done.code == 0 and os.geteuid():
            fetching.as_root(("chown", "-R", f"{os.geteuid()}:{os.getegid()}", str(root)), SECONDS)
    except ConformanceError as error:
        raise LackingError(
            f"mmdebstrap: {error.message}", hint="check that this machine can reach Debian's mirror"
        ) from error
    if done.code or not (root / "usr/bin/python3.11").is_file():
        said = " / ".join(line for line in done.stderr.strip().splitlines()[-_TAIL:])
        raise LackingError(f"mmdebstrap failed: {said}", hint=f"try it yourself: {' '.join(command[:-1])} FOLDER")


def site(wheels: Wheels, progress: Progress) -> tuple[Path, ...]:
    """Return the folders of these wheels for arm64, given as distributions with their versions.

    Raises:
        LackingError: A wheel can't be fetched.
    """
    return tuple(fetching.wheel(name, version, TAG, progress) for name, version in wheels)


def write_prefix(root: Path, profile: Profile, folder: Path) -> None:
    """Fill ``folder`` with what QEMU's -L shows the guest: a root's files, and the profile's processor.

    Without it user mode shows the guest the host's x86 /proc/cpuinfo, on which ai_edge_litert crashes. There is one
    core: more threads than the host has cores make emulation many times slower.
    """
    for name in _LINKED:
        if (root / name).exists():
            (folder / name).symlink_to((root / name).absolute())
    cpus = folder / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    for name in ("online", "possible", "present"):
        (cpus / name).write_text("0\n", encoding="ascii")
    (folder / "proc").mkdir()
    (folder / "proc/cpuinfo").write_text(profile.cpuinfo, encoding="utf-8")
