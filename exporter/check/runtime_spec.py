"""Which runtime an app ships, read from what the user gave for ``--runtime``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ..compat.facts import SNAPSHOT, Package
from ..errors import UnsupportedError, UsageError, nearest
from ..runtimes import RUNTIMES
from . import gradle

NPM = "npm:"
_LIBRARIES = (".aar", ".apk", ".aab", ".so", ".zip")
_BUILD_FILES = (".gradle", ".gradle.kts", ".kts")
_SKIPPED = {"build", "node_modules", ".gradle", ".git", ".idea", "Pods", ".cxx"}
_DEPTH = 4  # folders below a project's root in which build files are looked for
_FORMS = (
    "PACKAGE==VERSION (executorch-android==1.1.0), Maven coordinates, a build.gradle, a libs.versions.toml, "
    "a package.json, an app's folder, or its .aar, .apk, .aab or .so"
)


@dataclass(frozen=True)
class AppRuntime:
    """A runtime that an app ships.

    Attributes:
        text: The runtime as the user wrote it.
        runtime: The runtime's name; None for a library, which says so itself.
        package: The package that brings it; None for a library.
        package_version: The package's own version; None for a library.
        version: The runtime's version; None if it isn't known which one the package brings.
        library: A file, or ``npm:PACKAGE@VERSION``, instead of a package.
        file: The file that names it; None if the user named it directly.
        line: The line in ``file``, from 1.
    """

    text: str
    runtime: str | None = None
    package: str | None = None
    package_version: str | None = None
    version: str | None = None
    library: str | None = None
    file: str | None = None
    line: int = 1


def parse(text: str) -> tuple[AppRuntime, ...]:
    """Return the runtimes that ``--runtime`` names: one, or as many as an app's files name.

    Raises:
        UsageError: A file doesn't exist or can't be read, or the text has no known form.
        UnsupportedError: A package is unknown, a version can't be told, or the files name no runtime.
    """
    path = Path(text).expanduser()
    if text.startswith(NPM):
        return (AppRuntime(text, library=text),)
    if path.is_dir():
        return _project(text, path)
    if path.is_file():
        return _file(text, path)
    if "==" in text:
        name, _, version = text.partition("==")
        return (_package(text, name.strip(), version.strip()),)
    if re.fullmatch(r"[\w.\-]+:[\w.\-]+(:[^:/\\\s]*)?(@aar)?", text) and not re.match(r"[A-Za-z]:[\\/]", text):
        _, name, version = (*text.partition("@")[0].split(":"), "")[:3]
        return (_package(text, name, version),)
    if os.sep in text or "/" in text or text.endswith((*_LIBRARIES, *_BUILD_FILES, ".toml", ".json")):
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(f"there is no {text}: {nearest(path.name, beside)}", hint=f"give --runtime {_FORMS}")
    if text in packages():
        raise UsageError(f"{text}: the version is missing", hint=f"give it, for example --runtime {text}==1.1.0")
    raise UsageError(f"--runtime {text!r} isn't a known form: {nearest(text, packages())}", hint=f"give {_FORMS}")


def packages() -> dict[str, Package]:
    """Return the packages through which apps take any of the runtimes, by name."""
    return {name: each for runtime in RUNTIMES for name, each in runtime.releases.packages().items()}


def _aliases() -> str:
    """A pattern that runtimes' aliases in a Gradle catalog match; it matches nothing if none is known."""
    return "|".join(filter(None, (runtime.releases.gradle_alias for runtime in RUNTIMES))) or r"(?!)"


def _package(text: str, name: str, version: str, file: str | None = None, line: int = 1) -> AppRuntime:
    known = packages().get(name)
    if known is None:
        raise UnsupportedError(
            f"{text}: {name} isn't a runtime's package that Gemcut knows: {nearest(name, packages())}",
            hint="name the library that the app ships instead: an .aar, .apk, .aab or .so",
        )
    example = f"for example --runtime {name}==1.1.0"
    if not version:
        raise UsageError(f"{text}: the version is missing", hint=f"give it, {example}")
    if not gradle.is_plain(version):
        raise UsageError(f"{text}: {version!r} is not one version", hint=f"give a single version, {example}")
    try:
        plain = Version(version.removesuffix(SNAPSHOT)).base_version
    except InvalidVersion as error:
        raise UsageError(f"{text}: {version!r} is not a version", hint=f"give a version, {example}") from error
    runtime_version = known.releases.get(plain) if known.releases else plain
    return AppRuntime(text, known.runtime, name, version, runtime_version, file=file and _shown(file), line=line)


def _shown(file: str) -> str:
    """A path, relative to the present folder if it is below it, so that a file reached in two ways is the same."""
    path, here = Path(file).resolve(), Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _file(text: str, path: Path) -> tuple[AppRuntime, ...]:
    if path.name == "package.json":
        found = tuple(_package_json(text, path))
        known = ", ".join(name for name, each in packages().items() if each.npm)
        return found or _none(text, f"it depends on none of the packages that bring a runtime ({known})")
    if path.name.endswith(_BUILD_FILES):
        return tuple(_of_dependencies(text, gradle.read_build_file(path))) or _none(text, "its dependencies name none")
    if path.suffix == ".toml":
        return tuple(_of_dependencies(text, gradle.read_catalog(path))) or _none(text, "its libraries name none")
    if path.name.endswith(_LIBRARIES):
        return (AppRuntime(text, library=str(path)),)
    raise UnsupportedError(f"no runtime can be read from {text}", hint=f"give --runtime {_FORMS}")


def _none(text: str, why: str) -> tuple[AppRuntime, ...]:
    names = ", ".join(f"{each.group}:{name}" if each.group else name for name, each in packages().items())
    raise UnsupportedError(
        f"{text} names no runtime: {why}",
        hint=f"name it directly, with --runtime PACKAGE==VERSION or the app's .aar, .apk or .so; known are {names}",
    )


def _of_dependencies(text: str, dependencies: tuple[gradle.Dependency, ...]) -> Iterator[AppRuntime]:
    for each in dependencies:
        if each.library is not None:
            if each.library.is_file():
                yield AppRuntime(text, library=str(each.library), file=_shown(str(each.file)), line=each.line)
            continue
        alias = not each.group and re.search(_aliases(), each.name, re.IGNORECASE)
        if alias:
            raise gradle.unreadable(each)
        known = packages().get(each.name)
        if known is None or known.group != each.group or not known.group:
            continue
        if each.version is None or not gradle.is_plain(each.version):
            raise gradle.unreadable(each)
        yield _package(text, each.name, each.version, str(each.file), each.line)


def _project(text: str, root: Path) -> tuple[AppRuntime, ...]:
    """All runtimes that an app's own files name, build folders left out."""
    found: list[AppRuntime] = []
    looked = 0
    for path in _build_files(root):
        looked += 1
        if path.name == "package.json":
            found += _package_json(text, path)
        elif path.name == gradle.CATALOG:
            found += _of_dependencies(text, gradle.read_catalog(path))
        else:
            found += _of_dependencies(text, gradle.read_build_file(path))
    if not looked:
        raise UnsupportedError(
            f"{text}: there is no build.gradle, {gradle.CATALOG} or package.json in this folder",
            hint=f"give --runtime {_FORMS}",
        )
    return tuple(dict.fromkeys(found)) or _none(text, f"{looked} files were read")


def _build_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        place = Path(folder)
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        if len(place.relative_to(root).parts) >= _DEPTH:
            folders.clear()
        for name in sorted(files):
            if name in ("build.gradle", "build.gradle.kts", gradle.CATALOG, "package.json"):
                yield place / name


def _package_json(text: str, path: Path) -> Iterator[AppRuntime]:
    """A React Native app's packages that bring a runtime, in the version that is installed or locked."""
    data = _json(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    for part in ("dependencies", "devDependencies", "peerDependencies"):
        wanted = data.get(part)
        for name, spec in wanted.items() if isinstance(wanted, dict) else ():
            known = packages().get(name)
            if known is None or not known.npm:
                continue
            line = next((n for n, each in enumerate(lines, 1) if f'"{name}"' in each), 1)
            version = _installed(path.parent, name) or (spec if gradle.is_plain(str(spec)) else None)
            if version is None:
                raise UnsupportedError(
                    f"{path}:{line}: {name} {spec!r} doesn't name a single version, and no lock file beside it does",
                    hint=f"commit the lock file, run npm install, or give --runtime {name}==VERSION",
                )
            yield _package(text, name, version, str(path), line)


def _installed(folder: Path, name: str) -> str | None:
    """The version in node_modules, else in npm's, Yarn's or pnpm's lock file."""
    package = folder / "node_modules" / name / "package.json"
    if package.is_file():
        return str(_json(package).get("version") or "") or None
    if (lock := folder / "package-lock.json").is_file():
        data = _json(lock)
        entry = data.get("packages", {}).get(f"node_modules/{name}") or data.get("dependencies", {}).get(name) or {}
        return entry.get("version")
    named = re.escape(name)
    if (lock := folder / "yarn.lock").is_file():
        entry = re.search(rf'^"?{named}@[^\n]*:\n\s+version:? "?([^"\s]+)', lock.read_text(encoding="utf-8-sig"), re.M)
        return entry[1] if entry else None
    if (lock := folder / "pnpm-lock.yaml").is_file():
        entry = re.search(rf"^\s+'?/?{named}@([0-9][^:'(]*)", lock.read_text(encoding="utf-8-sig"), re.M)
        return entry[1] if entry else None
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} doesn't hold a JSON object")
    return found
