"""Fetching of what devices are made of, each kind by its own client: wheels by pip, packages by npm and apt-get.

An archive is checked by its sha256 before it is unpacked: against ``pins.toml`` if that names it, and always by the
client itself against what the registry says. What was unpacked is kept below ``cache_root()/devices``, beside a file
that holds the archive's sha256 and that of every file in it, and is checked again before each process's first use.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ConformanceError, LackingError
from . import processes
from .processes import Finished
from .progress import Progress
from .result_cache import cache_root, key_of

PINS = "pins.toml"
PYTHON = "3.11"  # of the wheels: it is Debian 12's, and the devices run no other
SECONDS = 900.0  # for one archive: the largest has 150 MB
APT_SECONDS = 1800.0
_CONTENTS = ".contents.json"
_OLDEST_GLIBC = 17  # manylinux_2_17 is manylinux2014, the oldest that has aarch64 (PEP 600, PEP 599)
_TAG = re.compile(r"manylinux_2_(\d+)_(\w+)")
_TAIL = 300


def wheel(name: str, version: str, tag: str, progress: Progress | None = None) -> Path:
    """Fetch and unpack a wheel for Python 3.11, or take it from the cache.

    Args:
        name: The distribution's name.
        version: The exact version.
        tag: The newest platform that will do, such as ``manylinux_2_28_aarch64``; wheels for an older glibc, and those
            for any platform, do too.
        progress: Told when something is fetched.

    Returns:
        The folder, laid out as in site-packages.

    Raises:
        LackingError: It can't be fetched, isn't the pinned one, or the disk is full.
    """

    def download(folder: Path) -> list[str]:
        platforms = [part for each in _platforms(tag) for part in ("--platform", each)]
        return [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
            *(*platforms, "--dest", str(folder), f"{name}=={version}"),
        ]

    what = f"{name}=={version}"
    return _kept("wheels", f"{what}/{tag}", "pip", what, download, _unzip, progress)


def npm(name: str, version: str, progress: Progress | None = None) -> Path:
    """Fetch and unpack an npm package, or take it from the cache; none of its scripts is run.

    Args:
        name: The package's name, with its scope.
        version: The exact version.
        progress: Told when something is fetched.

    Returns:
        The folder that holds its ``package.json``.

    Raises:
        LackingError: As for ``wheel``, or npm isn't installed.
    """

    def download(folder: Path) -> list[str]:
        flags = ("--loglevel=error", "--ignore-scripts", "--pack-destination", str(folder))
        return ["npm", "pack", *flags, f"{name}@{version}"]

    what = f"{name}@{version}"
    return _kept("npm", what, "npm", what, download, _untar, progress)


@functools.cache
def pins() -> Mapping[str, str]:
    """Return the pinned sha256 of archives, by ``wheels/NAME==VERSION/TAG`` and ``npm/NAME@VERSION``."""
    read = tomllib.loads((Path(__file__).parent / PINS).read_text(encoding="utf-8"))
    return {f"{kind}/{name}": digest for kind, table in read.items() for name, digest in table.items()}


def _platforms(tag: str) -> list[str]:
    """The tags that will do, newest first: pip takes an older glibc's wheel only if its tag is named."""
    found = _TAG.fullmatch(tag)
    if not found:
        return [tag]
    newest, machine = int(found[1]), found[2]
    return [*(f"manylinux_2_{n}_{machine}" for n in range(newest, _OLDEST_GLIBC - 1, -1)), f"manylinux2014_{machine}"]


def _kept(
    kind: str,
    key: str,
    client: str,
    what: str,
    download: Callable[[Path], list[str]],
    unpack: Callable[[Path, Path], Path],
    progress: Progress | None,
) -> Path:
    """The unpacked archive from the cache, or fetched into it."""
    safe = re.sub(r"[^\w.@+-]+", "-", key).strip("-")  # no '=' either: make takes that for an assignment
    home = cache_root() / "devices" / kind / safe
    wanted = pins().get(f"{kind}/{key}")
    if _is_whole(home, wanted):
        _mark_used(home)
        return home
    if progress is not None:
        progress.note(f"fetching {what} with {client}")
    with making(home) as place:
        archive = _fetched(client, what, download(place), place)
        digest = _sha256(archive)
        if wanted not in (None, digest):
            raise LackingError(
                f"{what} has sha256 {digest} as {client} fetched it; the pinned one is {wanted}",
                hint=f"a proxy or mirror changed it, or the registry serves another file: check '{client} config'",
            )
        contents = unpack(archive, place / "unpacked")
        archive.unlink()
        _write_contents(contents, digest)
        discard(home)  # a damaged one
        replace(contents, home)
    _is_whole.cache_clear()
    return home


def _fetched(client: str, what: str, command: Sequence[str], place: Path) -> Path:
    """Has the client put one archive into ``place``."""
    shown = " ".join(Path(part).name if at == 0 else part for at, part in enumerate(command)).replace(str(place), ".")
    hint = f"try it yourself on a network: {shown}"
    if client == "npm" and shutil.which("npm") is None:
        raise LackingError(f"fetching {what} needs npm, which isn't installed", hint=apt_command(("npm",)))
    try:
        done = processes.run(command, SECONDS, place)
    except ConformanceError as error:
        raise LackingError(f"{client} didn't fetch {what} in {SECONDS:.0f} seconds", hint=hint) from error
    found = [path for path in place.iterdir() if path.is_file()]
    if done.code or len(found) != 1:
        raise LackingError(f"{client} can't fetch {what}: {_last(done.stderr or done.stdout)}", hint=hint)
    return found[0]


@contextmanager
def making(home: Path) -> Iterator[Path]:
    """Provide a temporary folder beside ``home``, for ``replace``; it is removed even after an error or Ctrl-C.

    Args:
        home: Where the result is to be kept.

    Yields:
        The temporary folder.

    Raises:
        LackingError: The disk is full, or the cache's folder can't be written to.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as place:
            yield Path(place)
    except OSError as error:
        raise LackingError(
            f"{home.parent} can't be written to: {error.strerror or error}",
            hint="free some disk space, or point GEMCUT_CACHE at a folder of your own",
        ) from error


def replace(made: Path, home: Path) -> None:
    """Move a folder to where it is kept; one that another process put there meanwhile stays.

    Args:
        made: The folder, complete.
        home: Where it is kept.

    Raises:
        OSError: There is no folder at ``home`` afterwards.
    """
    with suppress(OSError):
        made.rename(home)
    if not home.is_dir():
        raise OSError(errno.EIO, f"{made.name} can't be moved to {home}")


def discard(home: Path) -> None:
    """Remove a kept folder, in one step as other processes see it; do nothing if there is none."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".old-") as old, suppress(FileNotFoundError):
        home.rename(Path(old) / "damaged")


@functools.cache
def _is_whole(home: Path, wanted: str | None) -> bool:
    """Whether a folder holds just what was unpacked into it, of the archive that is pinned."""
    try:
        noted = json.loads((home / _CONTENTS).read_text(encoding="utf-8"))
        return wanted in (None, noted["archive"]) and noted["files"] == _digests(home)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_contents(folder: Path, digest: str) -> None:
    noted = {"archive": digest, "files": _digests(folder)}
    (folder / _CONTENTS).write_text(json.dumps(noted, indent=1), encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _CONTENTS)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in paths if "__pycache__" not in path.parts}


def archive_sha256(folder: Path) -> str:
    """Return the sha256 of the archive that ``wheel`` or ``npm`` unpacked into ``folder``."""
    return str(json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))["archive"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unzip(archive: Path, out: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(out)
    except zipfile.BadZipFile as error:
        raise LackingError(f"{archive.name} is not a wheel: {error}", hint="fetch it again") from error
    return out


def _untar(archive: Path, out: Path) -> Path:
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(out, filter="data")
    except tarfile.TarError as error:
        raise LackingError(f"{archive.name} is not an npm package: {error}", hint="fetch it again") from error
    folders = [path for path in out.iterdir() if path.is_dir()]  # 'package', but some name it otherwise
    if len(folders) != 1:
        raise LackingError(f"{archive.name} holds {len(folders)} folders, not one", hint="fetch it again")
    return folders[0]


def missing_packages(*names: str) -> tuple[str, ...]:
    """Return which of these Debian packages aren't installed; all of them if there is no dpkg.

    Args:
        names: As apt-get takes them, such as ``libc6:arm64`` for another architecture.
    """
    return tuple(name for name in names if not _is_installed(name))


def _is_installed(name: str) -> bool:
    with suppress(FileNotFoundError):
        command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name]
        return subprocess.run(command, capture_output=True, check=False).stdout == b"installed"
    return False


def apt_command(names: Sequence[str]) -> str:
    """Return the command that installs these Debian packages, as the present user has to type it."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y {' '.join(names)}"


def may_install() -> bool:
    """Return whether Debian packages can be installed unasked: as root, or with a sudo that needs no password."""
    if shutil.which("apt-get") is None:
        return False
    return os.geteuid() == 0 or _has_sudo()


@functools.cache
def _has_sudo() -> bool:
    return shutil.which("sudo") is not None and processes.run(("sudo", "-n", "true"), 10).code == 0


def apt_install(names: Sequence[str], progress: Progress) -> None:
    """Install those of the Debian packages that aren't installed yet.

    Args:
        names: As apt-get takes them.
        progress: Told what is installed.

    Raises:
        LackingError: The user may not install packages, or apt-get fails; the hint is the command.
    """
    wanted = missing_packages(*names)
    if not wanted:
        return
    if not may_install():
        raise LackingError(f"these packages are missing: {', '.join(wanted)}", hint=apt_command(wanted))
    progress.note(f"installing with apt-get: {', '.join(wanted)}")
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq")
    flags = ("install", "-y", "--no-install-recommends", *wanted)
    done = as_root((*apt, *flags), APT_SECONDS)
    if done.code:  # the lists may be missing or old, as in a fresh container
        as_root((*apt, "update"), APT_SECONDS)
        done = as_root((*apt, *flags), APT_SECONDS)
    if done.code:
        raise LackingError(f"apt-get failed: {_last(done.stderr)}", hint=apt_command(wanted))


def as_root(command: Sequence[str], seconds: float, **env: str) -> Finished:
    """Run a command as root: directly, or with a sudo that needs no password.

    Args:
        command: The command's name and arguments.
        seconds: Its time limit.
        env: Environment variables for it.

    Raises:
        ConformanceError: It took longer than ``seconds``.
    """
    given = {"DEBIAN_FRONTEND": "noninteractive", **env}
    if os.geteuid() == 0:
        return processes.run(command, seconds, env=given)
    return processes.run(("sudo", "-n", "env", *(f"{k}={v}" for k, v in given.items()), *command), seconds)


def build_home(kind: str, *parts: bytes | str) -> Path:
    """Return where something that is made from ``parts`` is kept; it need not exist yet.

    Args:
        kind: The name of a folder below ``cache_root()/devices``.
        parts: All that goes into it: sources, versions, flags.
    """
    encoded = (part.encode() if isinstance(part, str) else part for part in parts)
    home = cache_root() / "devices" / kind / key_of(encoded)[:32]
    _mark_used(home)
    return home


def _mark_used(home: Path) -> None:
    """Say when something that is kept was asked for last, which ``gemcut cache prune`` goes by."""
    with suppress(OSError):  # it isn't there yet, or is another user's
        os.utime(home)


def _last(text: str) -> str:
    """The line that says why: pip's and apt's last; npm's first after its code, for what follows is advice."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "ERR" in line.upper()] or lines
    npm = [line for line in telling if line.startswith("npm error") and not line.startswith("npm error code")]
    return ((npm[0] if npm else telling[-1]) if telling else "it printed nothing")[-_TAIL:]
