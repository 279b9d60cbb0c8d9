"""Dependencies of a Gradle build: only what its files state literally is read; nothing is run.

Coordinates as strings (``"org.pytorch:executorch-android:1.1.0"``) and as maps (``group: ..., name: ..., version:
...``), versions held in variables of the file or in ``gradle.properties``, aliases of a version catalog
(``libs.executorch.android``), and local libraries (``files("libs/executorch.aar")``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError, UsageError

CATALOG = "libs.versions.toml"
_LEVELS = 8  # of folders above a build file in which its catalog and gradle.properties are looked for
_HINT = "name the version: --runtime PACKAGE==VERSION, or the version catalog that holds it"

_DOUBLE = r'"(?:\\.|\$\{[^}\n]*\}|[^"\\\n])*"'
_SINGLE = r"'(?:\\.|[^'\\\n])*'"
_STRING = re.compile(f"{_DOUBLE}|{_SINGLE}")
_COMMENT = re.compile(rf"({_DOUBLE}|{_SINGLE})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_NAMED = re.compile(r"""\b(group|name|version)\s*[:=]\s*(?:(["'])([^"']*)\2|([\w.]+))""")
_SET = re.compile(
    r"""(?:\b(?:def|val|var|const\s+val|String)\s+|\bext\.|\bextra\[\s*["']|\bset\(\s*["']|^\s*)
        (?P<name>\w+)(?:\s*:\s*String)?["']?\s*\]?\s*(?:=|,|\sby\sextra\()\s*["'](?P<value>[^"'$\n]*)["']""",
    re.VERBOSE | re.MULTILINE,
)
_ALIAS = re.compile(r"\b(libs)\.([A-Za-z0-9_.]+)")
_LOCAL = re.compile(r"""\bfiles?\(\s*(["'])([^"'$]+\.(?:aar|so|apk))\1""")
_STRICT = re.compile(r"""\b(?:strictly|require|prefer)\s*\(?\s*["']([^"']+)["']""")
_PLAIN = re.compile(r"v?\d+(\.\d+)*([.-]?[0-9A-Za-z]+)*$")


@dataclass(frozen=True)
class Dependency:
    """A dependency that a build file or a version catalog names.

    Attributes:
        group: The group of its coordinates.
        name: The name in its coordinates.
        version: The version as written, with variables filled in; None if it can't be told.
        written: The text in the file.
        file: The file that names it.
        line: The line in ``file``, from 1.
        library: A local library; the coordinates are then empty.
    """

    group: str
    name: str
    version: str | None
    written: str
    file: Path
    line: int
    library: Path | None = None


def read_build_file(path: Path) -> tuple[Dependency, ...]:
    """Return the dependencies that a ``build.gradle`` or ``build.gradle.kts`` names.

    Raises:
        UsageError: It can't be read, or a catalog beside it isn't TOML.
    """
    raw = _read(path)
    text = _COMMENT.sub(lambda found: found[0] if found[1] else re.sub(r"[^\n]", " ", found[0]), raw)
    variables = _variables(path, text)
    found = [*_strings(path, text, variables), *_maps(path, text, variables), *_locals(path, text)]
    catalog = find_catalog(path)
    known, bundles = _catalog(catalog) if catalog else ({}, {})
    for match in _ALIAS.finditer(text):
        alias = match[2]
        if alias.startswith(("versions.", "plugins.")):
            continue
        for name in bundles.get(_normal(alias.removeprefix("bundles.")), (alias,)):
            entry = known.get(_normal(name))
            found.append(entry or Dependency("", name, None, match[0], path, _line(text, match.start())))
    return tuple(dict.fromkeys(found))


def read_catalog(path: Path) -> tuple[Dependency, ...]:
    """Return the libraries of a version catalog.

    Raises:
        UsageError: It isn't TOML, or isn't a catalog.
    """
    return tuple(_catalog(path)[0].values())


def find_catalog(path: Path) -> Path | None:
    """Return ``gradle/libs.versions.toml`` beside a build file or above it; None if there is none."""
    for folder in [*path.resolve().parents][:_LEVELS]:
        for candidate in (folder / "gradle" / CATALOG, folder / CATALOG):
            if candidate.is_file():
                return candidate
    return None


def is_plain(version: str) -> bool:
    """Return whether a version names one release: no range, no ``+``, no ``latest.release``."""
    return bool(_PLAIN.fullmatch(version)) and not version.endswith("+")


def unreadable(dependency: Dependency) -> UnsupportedError:
    """Return the error for a dependency whose version can't be told from the files."""
    place = f"{dependency.file}:{dependency.line}"
    if dependency.version is None:
        return UnsupportedError(f"{place}: can't tell the version of {dependency.written!r}", hint=_HINT)
    return UnsupportedError(
        f"{place}: {dependency.written!r} doesn't name a single version: {dependency.version!r}", hint=_HINT
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _variables(path: Path, text: str) -> Mapping[str, str]:
    """Names with a plain string as their value: in the file, in build files above it, and in gradle.properties."""
    found: dict[str, str] = {}
    for folder in [*path.resolve().parents][1:_LEVELS][::-1]:
        for name in ("build.gradle", "build.gradle.kts"):
            if (folder / name).is_file():
                found |= {match["name"]: match["value"] for match in _SET.finditer(_read(folder / name))}
    for folder in [*path.resolve().parents][:_LEVELS][::-1]:
        if (folder / "gradle.properties").is_file():
            lines = _read(folder / "gradle.properties").splitlines()
            pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith(("#", "!")))
            found |= {name.strip(): value.strip() for name, _, value in pairs}
    return found | {match["name"]: match["value"] for match in _SET.finditer(text)}


def _filled(value: str, variables: Mapping[str, str], path: Path) -> str | None:
    """A string with its variables filled in; None if one isn't known."""
    unknown = False

    def put(match: re.Match[str]) -> str:
        nonlocal unknown
        name = match[1] or match[2]
        value = _of_catalog(name, path) if name.startswith("libs.versions.") else None
        last = re.split(r"\.|\[", name.removesuffix(".get()"))[-1].strip("]\"'")
        value = value or variables.get(last)
        unknown = unknown or value is None
        return value or ""

    filled = re.sub(r"\$\{([^}]+)\}|\$([A-Za-z_][\w.]*)", put, value)
    return None if unknown else filled


def _of_catalog(name: str, path: Path) -> str | None:
    """``libs.versions.NAME.get()``."""
    catalog = find_catalog(path)
    if catalog is None:
        return None
    versions = {_normal(key): _rich(value) for key, value in _toml(catalog).get("versions", {}).items()}
    return versions.get(_normal(name.removeprefix("libs.versions.").removesuffix(".get()")))


def _strings(path: Path, text: str, variables: Mapping[str, str]) -> Iterator[Dependency]:
    for match in _STRING.finditer(text):
        written = match[0][1:-1]
        parts = written.split(":")
        if len(parts) not in (2, 3, 4) or not all(re.fullmatch(r"[\w.\-]+", part) for part in parts[:2]):
            continue
        line, after = _line(text, match.start()), text[match.end() :]
        version: str | None = None
        if len(parts) > 2:
            version = _filled(parts[2].partition("@")[0], variables, path) if match[0][0] == '"' else parts[2]
            version = None if version is None else version.partition("@")[0].partition("!!")[0]
        elif added := re.match(r"\s*\+\s*(?:[\w.]+\.)?(\w+)", after):  # "group:name:" + version
            version = variables.get(added[1])
        elif block := re.match(r"\s*\)?\s*\{[^}]*?version\s*\{([^}]*)\}", after):
            strict = _STRICT.search(block[1])
            version = strict[1] if strict else None
        if version == "" and (added := re.match(r"\s*\+\s*(?:[\w.]+\.)?(\w+)", after)):
            version = variables.get(added[1])
        yield Dependency(parts[0], parts[1], version or None, written, path, line)


def _maps(path: Path, text: str, variables: Mapping[str, str]) -> Iterator[Dependency]:
    """``group: "g", name: "n", version: "v"``, in one statement."""
    for match in re.finditer(r"\bgroup\s*[:=]\s*[\"'][^\n)]*(?:\n[^\n)]*){0,3}", text):
        found = {key: (string if quote else None, name) for key, quote, string, name in _NAMED.findall(match[0])}
        if not {"group", "name"} <= found.keys():
            continue
        string, name = found.get("version", (None, ""))
        version = _filled(string, variables, path) if string is not None else variables.get(name.rpartition(".")[2])
        group, artifact = found["group"][0] or "", found["name"][0] or ""
        written = " ".join(match[0].split())
        yield Dependency(group, artifact, version or None, written, path, _line(text, match.start()))


def _locals(path: Path, text: str) -> Iterator[Dependency]:
    for match in _LOCAL.finditer(text):
        file = Path(match[2])
        library = file if file.is_absolute() else path.parent / file
        yield Dependency("", "", None, match[2], path, _line(text, match.start()), library)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not a version catalog: {error}") from error


def _normal(alias: str) -> str:
    """An alias as Gradle compares it: ``-``, ``_`` and ``.`` are the same."""
    return re.sub(r"[-_.]", ".", alias).removesuffix(".get")


def _rich(value: Any) -> str | None:
    if isinstance(value, str):
        return value.partition("!!")[0]
    if isinstance(value, Mapping):
        return next((str(value[key]) for key in ("strictly", "require", "prefer") if key in value), None)
    return None


def _catalog(path: Path) -> tuple[dict[str, Dependency], dict[str, tuple[str, ...]]]:
    """Libraries by their alias, and bundles of aliases by theirs."""
    data, lines = _toml(path), _read(path).splitlines()
    if not data.keys() & {"libraries", "versions", "plugins", "bundles"}:
        raise UsageError(
            f"{path} is not a version catalog: it has neither [libraries] nor [versions]",
            hint=f"Name the version catalog, usually gradle/{CATALOG}.",
        )
    versions = {name: _rich(value) for name, value in data.get("versions", {}).items()}
    found = {}

    def line_of(section: str, alias: str) -> int:
        pattern, inside = re.compile(rf"\s*[\"']?{re.escape(alias)}[\"']?\s*="), ""
        for number, each in enumerate(lines, 1):
            if head := re.match(r"\s*\[([\w-]+)\]", each):
                inside = head[1]
            elif inside == section and pattern.match(each):
                return number
        return 1

    for alias, entry in data.get("libraries", {}).items():
        group, name, version = _library(entry, versions)
        reference = entry.get("version") if isinstance(entry, Mapping) else None
        reference = str(reference.get("ref", "")) if isinstance(reference, Mapping) else ""
        # The line at which the version can be changed.
        line = line_of("versions", reference) if reference in versions else line_of("libraries", alias)
        found[_normal(alias)] = Dependency(group, name, version, f"{group}:{name}", path, line)
    bundles = {_normal(name): tuple(map(_normal, aliases)) for name, aliases in data.get("bundles", {}).items()}
    return found, bundles


def _library(entry: Any, versions: Mapping[str, str | None]) -> tuple[str, str, str | None]:
    if isinstance(entry, str):
        group, _, rest = entry.partition(":")
        name, _, version = rest.partition(":")
        return group, name, version or None
    module = str(entry.get("module", ""))
    group, _, name = module.partition(":") if module else (entry.get("group", ""), "", entry.get("name", ""))
    version = entry.get("version")
    if isinstance(version, Mapping) and "ref" in version:
        return group, name, versions.get(version["ref"])
    return group, name, _rich(version)
