"""An arm64 Python with a runtime's wheels as a device behind adb has it: on its own disk, or pushed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..runtimes.golden_runner import PythonGoldenRunner
from ..util import fetching
from ..util.progress import Progress
from .arm64.sysroot import Wheels, site, sysroot, sysroot_home
from .guest_package import write_package

PACKAGE = "package"  # the folder of Gemcut's own modules, within the device's
_SITE = "site"
_LOADER = "lib/ld-linux-aarch64.so.1"
_LIBRARIES = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu")
_LAYOUT = "1"  # version of what ``tree`` makes
# Documents, and what only a complete Debian needs.
_LEFT_OUT = ("usr/share", "var", "etc", "boot", "home", "root", "srv", "mnt", "media", "opt", "run", "tmp")


def tree_home(kind: str, wheels: Wheels) -> Path:
    """Return where something made of ``tree`` is cached; it need not exist yet."""
    return fetching.build_home(kind, sysroot_home().name, *(f"{name}=={version}" for name, version in wheels), _LAYOUT)


def tree(wheels: Wheels, progress: Progress, out: Path) -> Path:
    """Make Debian's arm64 Python with the wheels in ``site``, as hard links to the cache if the file system allows it.

    Args:
        wheels: Distributions with their versions.
        progress: Receives a note of what is fetched.
        out: The folder, which is created.

    Returns:
        ``out``.

    Raises:
        LackingError: Something can't be fetched.
    """
    root, folders = sysroot(progress), site(wheels, progress)
    left_out = {str(root / name) for name in _LEFT_OUT}

    def ignore(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if os.path.join(folder, name) in left_out or name == "__pycache__"]

    shutil.copytree(root, out, symlinks=True, copy_function=_link, ignore=ignore)
    for folder in folders:
        shutil.copytree(folder, out / _SITE, symlinks=True, copy_function=_link, dirs_exist_ok=True)
    return out


def _link(source: str, target: str) -> None:
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    try:
        os.link(source, target)
    except FileExistsError:  # metadata that two wheels have
        return
    except OSError:
        shutil.copy2(source, target)


def python_command(root: str) -> tuple[str, ...]:
    """Return the command of a Python with ``PACKAGE`` and the wheels; ``root`` is the tree's folder on the device."""
    settings = {
        "PYTHONHOME": f"{root}/usr",
        "PYTHONPATH": f"{PACKAGE}:{root}/{_SITE}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    libraries = ":".join(f"{root}/{name}" for name in _LIBRARIES)
    return (
        *("env", *(f"{name}={value}" for name, value in settings.items())),
        *(f"{root}/{_LOADER}", "--library-path", libraries, f"{root}/usr/bin/python3.11", "-B"),
    )


def guest_command(root: str, runner: PythonGoldenRunner) -> tuple[str, ...]:
    """Return the command of a golden runner in Python."""
    return (*python_command(root), "-m", runner.module)


def package(runner: PythonGoldenRunner, work: Path) -> Path:
    """Write Gemcut's own modules for the device, to be pushed as ``PACKAGE``, and return their folder."""
    write_package((runner.module, *runner.late), work / PACKAGE)
    return work / PACKAGE
