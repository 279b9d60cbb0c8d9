"""Runtimes as they stand in an app's files: Gradle, version catalogs, package.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gemcut.check.runtime_spec import AppRuntime, parse
from gemcut.errors import UnsupportedError, UsageError

CATALOG = """[versions]
executorch = "1.1.0"
agp = { strictly = "8.5.0" }
litertlm = { require = "0.11.0" }

[libraries]
executorch-android = { module = "org.pytorch:executorch-android", version.ref = "executorch" }
litert_lm = { group = "com.google.ai.edge.litertlm", name = "litertlm-android", version.ref = "litertlm" }
gson = "com.google.code.gson:gson:2.13.2"

[bundles]
models = ["executorch-android", "gson"]
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def one(text: object) -> AppRuntime:
    (found,) = parse(str(text))
    return found


GROOVY = {
    "string": "dependencies {\n    implementation 'org.pytorch:executorch-android:1.1.0'\n}",
    "classifier": "dependencies {\n    implementation 'org.pytorch:executorch-android:1.1.0@aar'\n}",
    "call": 'dependencies {\n    implementation("org.pytorch:executorch-android:1.1.0") { transitive = false }\n}',
    "map": "dependencies {\n    api group: 'org.pytorch', name: 'executorch-android', version: '1.1.0'\n}",
    "def": "def et = '1.1.0'\nimplementation \"org.pytorch:executorch-android:$et\"\n",
    "braces": 'ext.et_version = "1.1.0"\nimplementation "org.pytorch:executorch-android:${et_version}"\n',
    "ext block": "ext {\n    et = '1.1.0'\n}\n"
    'implementation "org.pytorch:executorch-android:${rootProject.ext.et}"\n',
    "sum": "def et = '1.1.0'\nimplementation 'org.pytorch:executorch-android:' + et\n",
    "map with variable": "def et = '1.1.0'\napi group: 'org.pytorch', name: 'executorch-android', version: et\n",
    "comments": "// implementation 'org.pytorch:executorch-android:0.6.0'\n"
    "/* 'org.pytorch:executorch-android:0.7.0' */\n"
    "url 'https://example.org' // not this: 'org.pytorch:executorch-android:0.5.0'\n"
    "implementation 'org.pytorch:executorch-android:1.1.0'",
}
KOTLIN = {
    "string": 'dependencies {\n    implementation("org.pytorch:executorch-android:1.1.0")\n}',
    "val": 'val et = "1.1.0"\ndependencies { implementation("org.pytorch:executorch-android:$et") }',
    "typed": 'val et: String = "1.1.0"\ndependencies { implementation("org.pytorch:executorch-android:$et") }',
    "named": 'implementation(group = "org.pytorch", name = "executorch-android", version = "1.1.0")',
    "strictly": 'implementation("org.pytorch:executorch-android") {\n  version {\n    strictly("1.1.0")\n  }\n}',
    "forced": 'implementation("org.pytorch:executorch-android:1.1.0!!")',
    "extra": 'extra["et"] = "1.1.0"\nimplementation("org.pytorch:executorch-android:${extra["et"]}")',
    "by extra": 'val et by extra("1.1.0")\nimplementation("org.pytorch:executorch-android:$et")',
}


@pytest.mark.parametrize(
    ("name", "text"),
    [*(("build.gradle", text) for text in GROOVY.values()), *(("build.gradle.kts", text) for text in KOTLIN.values())],
    ids=[*(f"groovy {name}" for name in GROOVY), *(f"kotlin {name}" for name in KOTLIN)],
)
def test_notations(name: str, text: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, text)
    found = one(path)
    assert (found.runtime, found.package, found.version) == ("executorch", "executorch-android", "1.1.0")
    assert found.file == str(path)
    lines = text.splitlines()
    assert "executorch-android" in lines[found.line - 1] or "group" in lines[found.line - 1]
    assert not lines[found.line - 1].startswith(("//", "/*"))


@pytest.mark.parametrize(
    "line",
    [
        "implementation(libs.executorch.android)",
        "implementation libs.executorch.android",
        "implementation(libs.bundles.models)",
        'implementation("org.pytorch:executorch-android:${libs.versions.executorch.get()}")',
    ],
)
def test_catalog_beside_or_above(line: str, tmp_path: Path) -> None:
    catalog = write(tmp_path / "gradle" / "libs.versions.toml", CATALOG)
    build = write(tmp_path / "app" / "build.gradle.kts", f"dependencies {{\n    {line}\n}}\n")
    found = one(build)
    assert (found.package, found.version) == ("executorch-android", "1.1.0")
    # Where the version is to be changed: in the catalog, or in the build file that takes it from there.
    assert (found.file, found.line) in {(str(catalog), 2), (str(build), 2)}


def test_catalog_itself_names_both_runtimes(tmp_path: Path) -> None:
    found = parse(str(write(tmp_path / "libs.versions.toml", CATALOG)))
    assert [(each.runtime, each.version, each.line) for each in found] == [
        ("executorch", "1.1.0", 2),
        ("litert", "0.11.0", 4),
    ]


def test_variables_above(tmp_path: Path) -> None:
    write(tmp_path / "gradle.properties", "# versions\net.version=1.0.0\net = 1.2.0\n")
    write(tmp_path / "build.gradle", "buildscript {\n  ext {\n    old = '0.7.0'\n  }\n}\n")
    app = tmp_path / "app" / "build.gradle"
    assert one(write(app, 'implementation "org.pytorch:executorch-android:$et"')).version == "1.2.0"
    assert one(write(app, 'implementation "org.pytorch:executorch-android:${rootProject.ext.old}"')).version == "0.7.0"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("implementation \"org.pytorch:executorch-android:${versionFor('et')}\"", "can't tell the version"),
        ("implementation 'org.pytorch:executorch-android'", "can't tell the version"),
        ("implementation 'org.pytorch:executorch-android:1.+'", "doesn't name a single version"),
        ("implementation 'org.pytorch:executorch-android:[1.0,2.0)'", "doesn't name a single version"),
        ("implementation 'org.pytorch:executorch-android:latest.release'", "doesn't name a single version"),
        ("implementation libs.executorch.android", "can't tell the version"),
    ],
)
def test_what_cant_be_read_names_its_line(line: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "build.gradle", f"dependencies {{\n\n    {line}\n}}\n")
    with pytest.raises(UnsupportedError, match=said) as caught:
        parse(str(path))
    assert f"{path}:3" in caught.value.message
    assert "--runtime PACKAGE==VERSION" in str(caught.value.hint)


def test_a_build_without_a_runtime_says_what_is_looked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "build.gradle", "implementation 'com.google.code.gson:gson:2.13.2'")
    with pytest.raises(UnsupportedError, match="names no runtime") as caught:
        parse(str(path))
    assert "org.pytorch:executorch-android" in str(caught.value.hint)
    other = write(tmp_path / "other.gradle", "implementation 'org.example:executorch-android:1.1.0'")
    with pytest.raises(UnsupportedError, match="names no runtime"):
        parse(str(other))


def test_a_broken_catalog_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a version catalog"):
        parse(str(write(tmp_path / "libs.versions.toml", "[libraries\n")))
    with pytest.raises(UsageError, match="neither \\[libraries\\] nor"):
        parse(str(write(tmp_path / "libs.versions.toml", "[tool]\nx = 1\n")))


def test_a_local_library_is_the_runtime(tmp_path: Path) -> None:
    path = write(tmp_path / "app" / "build.gradle.kts", '\nimplementation(files("libs/executorch.aar"))\n')
    with pytest.raises(UnsupportedError, match="names no runtime"):
        parse(str(path))  # it isn't there
    library = write(tmp_path / "app" / "libs" / "executorch.aar", "x")
    assert one(path) == AppRuntime(str(path), library=str(library), file=str(path), line=2)


# React Native


def react(folder: Path, spec: str) -> Path:
    return write(folder / "package.json", json.dumps({"dependencies": {"react-native-executorch": spec}}, indent=2))


def test_package_json(tmp_path: Path) -> None:
    found = one(react(tmp_path, "0.8.4"))
    assert (found.package, found.package_version, found.version, found.line) == (
        "react-native-executorch",
        "0.8.4",
        "1.1.0",
        3,
    )
    assert one(react(tmp_path, "0.8.3")).version is None  # which ExecuTorch that is isn't known


LOCKS = {
    "package-lock.json": json.dumps({"packages": {"node_modules/react-native-executorch": {"version": "0.9.3"}}}),
    "yarn.lock": '"react-native-executorch@^0.8.0":\n  version "0.9.3"\n  resolved "x"\n',
    "pnpm-lock.yaml": "packages:\n\n  react-native-executorch@0.9.3(react@19.0.0):\n    resolution: {}\n",
    "node_modules/react-native-executorch/package.json": '{"version": "0.9.3"}',
}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_range_is_what_is_locked(lock: str, tmp_path: Path) -> None:
    path = react(tmp_path, "^0.8.0")
    with pytest.raises(UnsupportedError, match=r"package\.json:3: .*doesn't name a single version"):
        parse(str(path))
    write(tmp_path / lock, LOCKS[lock])
    assert one(path).package_version == "0.9.3"


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"no build\.gradle"):
        parse(str(tmp_path))
    write(tmp_path / "gradle" / "libs.versions.toml", CATALOG)
    write(tmp_path / "app" / "build.gradle.kts", "dependencies { implementation(libs.executorch.android) }")
    write(tmp_path / "node_modules" / "x" / "build.gradle", "implementation 'org.pytorch:executorch-android:0.6.0'")
    found = parse(str(tmp_path))
    assert [(each.package, each.version) for each in found] == [
        ("executorch-android", "1.1.0"),
        ("litertlm-android", "0.11.0"),
    ]


# Given directly


@pytest.mark.parametrize(
    ("text", "package", "version"),
    [
        ("executorch-android==1.1.0", "executorch-android", "1.1.0"),
        ("executorch==1.5.1", "executorch", "1.5.1"),
        ("org.pytorch:executorch-android:1.1.0", "executorch-android", "1.1.0"),
        ("org.pytorch:executorch-android:1.2.0-SNAPSHOT", "executorch-android", "1.2.0"),
        ("litertlm-android==0.11.0", "litertlm-android", "0.11.0"),
        ("com.google.ai.edge.litertlm:litertlm-android:0.11.0", "litertlm-android", "0.11.0"),
        ("react-native-executorch==0.8.4", "react-native-executorch", "1.1.0"),
    ],
)
def test_versions(text: str, package: str, version: str) -> None:
    assert (one(text).package, one(text).version) == (package, version)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("executorch-andriod==1.1.0", UnsupportedError, "did you mean 'executorch-android'"),
        ("org.pytorch:pytorch_android:1.13", UnsupportedError, "isn't a runtime's package"),
        ("executorch-android==", UsageError, "the version is missing"),
        ("executorch-android", UsageError, "the version is missing"),
        ("org.pytorch:executorch-android", UsageError, "the version is missing"),
        ("executorch-android==1.+", UsageError, "not one version"),
        ("executorch-android>=1.1", UsageError, "isn't a known form"),
        ("1.1.0", UsageError, "isn't a known form"),
        ("app/release.apk", UsageError, "there is no app/release.apk"),
    ],
)
def test_mistakes(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parse(text)


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "build.gradle.kts", "")
    with pytest.raises(UsageError, match=r"did you mean 'build\.gradle\.kts'"):
        parse(str(tmp_path / "biuld.gradle.kts"))
    with pytest.raises(UnsupportedError, match="no runtime can be read from"):
        parse(str(write(tmp_path / "notes.txt", "x")))
