"""The whole app, screens included: it compiles, its stubs are Android's, an APK is built, Gradle's files fit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gemcut.devices.android.libraries import resolve
from gemcut.errors import LackingError
from gemcut.util.fetching import apt_command, apt_install, npm
from gemcut.util.progress import Silent

from tests.support.android_app import APP, DEMO, SCREENLESS, compiled, digest, with_prompt
from tests.support.exports import Exported
from tests.support.java_core import Core

SMOKE = DEMO / "smoke"
LIBRARY = "npm:react-native-executorch@0.8.4"
LLM = "org/pytorch/executorch/extension/llm/LlmModule"
# Of gradle-wrapper.jar and of gradle-8.10.2-bin.zip, as Gradle publishes them (gradle.org/release-checksums).
GRADLE = "8.10.2"
WRAPPER = "2db75c40782f5e8ba1fc278a5574bab070adccb2d21ca5a6e5ed840888448046"
DISTRIBUTION = "31c55713e40233a8303827ceb42ca48a47267a0ad4bab9177123121e71524c26"
# Android's public API as TypeScript, made from the android.jar of each level: what the stubs are held against.
API = ("@nativescript/types-android", "8.8.0")


@pytest.fixture(scope="module", autouse=True)
def device_cache(own_cache: Path, kept_cache: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(kept_cache))
        yield kept_cache


@pytest.fixture(scope="module")
def smoke() -> object:
    """The smoke build, with the Debian packages that it wants."""
    import build_apk

    wanted = (*build_apk.missing(), *(() if shutil.which("dexdump") else ("dexdump",)))
    try:
        apt_install(wanted, Silent())
    except LackingError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    if lacking := build_apk.missing():
        pytest.skip(f"no APK can be built here: {apt_command(lacking)}")
    return build_apk


def said(*command: object) -> str:
    """What a tool that must succeed writes."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


# ---- Gradle ----------------------------------------------------------------------------------------------------------


def test_every_alias_in_the_build_files_is_in_the_catalog() -> None:
    catalog = tomllib.loads((DEMO / "gradle/libs.versions.toml").read_text(encoding="utf-8"))
    assert set(catalog) == {"versions", "libraries", "plugins"}
    known = {f"libs.{name.replace('-', '.')}" for name in catalog["libraries"]}
    known |= {f"libs.plugins.{name.replace('-', '.')}" for name in catalog["plugins"]}
    known |= {f"libs.versions.{name.replace('-', '.')}" for name in catalog["versions"]}
    used = set()
    for file in DEMO.rglob("*.gradle.kts"):
        text = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
        used |= {found.removesuffix(".get") for found in re.findall(r"\blibs\.[\w.]+", text)}
    assert used <= known
    assert "libs.executorch.android" in used
    named = {entry["version"]["ref"] for table in ("libraries", "plugins") for entry in catalog[table].values()}
    assert named == set(catalog["versions"])
    assert catalog["libraries"]["executorch-android"]["module"] == "org.pytorch:executorch-android"


def test_modules_and_abis_are_those_that_the_app_ships() -> None:
    settings = (DEMO / "settings.gradle.kts").read_text(encoding="utf-8")
    modules = re.findall(r'":(\w+)"', settings)
    assert modules == ["core", "app", "kotlin"]
    assert all((DEMO / module / "build.gradle.kts").is_file() for module in modules)
    for name in ("app", "kotlin"):
        app = (DEMO / name / "build.gradle.kts").read_text(encoding="utf-8")
        assert re.search(r'abiFilters \+= listOf\("arm64-v8a", "x86_64"\)', app)
        assert re.search(r"minSdk = 26\b", app)


def test_the_wrapper_is_gradles_own_and_starts_only_the_gradle_whose_hash_it_knows(
    jdk: tuple[Path, ...], tmp_path: Path
) -> None:
    """A distribution of our own stands for Gradle's: the real one is 130 MB, from a host that tests don't ask."""
    assert digest(DEMO / "gradle/wrapper/gradle-wrapper.jar") == WRAPPER
    shutil.copytree(DEMO / "gradle", tmp_path / "gradle")
    shutil.copy(DEMO / "gradlew", tmp_path)
    settings = tmp_path / "gradle/wrapper/gradle-wrapper.properties"
    text = settings.read_text(encoding="utf-8")
    assert f"distributionUrl=https\\://services.gradle.org/distributions/gradle-{GRADLE}-bin.zip\n" in text
    assert f"distributionSha256Sum={DISTRIBUTION}\n" in text

    source = tmp_path / "GradleMain.java"
    source.write_text(
        "package org.gradle.launcher; public class GradleMain { public static void main(String[] words) {"
        'System.out.println("started with " + String.join(" ", words)); } }',
        encoding="utf-8",
    )
    main = "org/gradle/launcher/GradleMain.class"
    compiled([source], [], tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "launcher.jar", "w") as jar:
        jar.write(tmp_path / "out" / main, main)
    ours = tmp_path / f"gradle-{GRADLE}-bin.zip"
    with zipfile.ZipFile(ours, "w") as packed:
        for folder in ("", "lib/", "bin/"):
            packed.writestr(f"gradle-{GRADLE}/{folder}", "")
        packed.write(tmp_path / "launcher.jar", f"gradle-{GRADLE}/lib/gradle-launcher-{GRADLE}.jar")
        packed.writestr(f"gradle-{GRADLE}/bin/gradle", "")

    def start(sha256: str) -> subprocess.CompletedProcess[str]:
        address = re.sub(r"(?m)^distributionUrl=.*", f"distributionUrl=file\\\\:{ours}", text)
        settings.write_text(address.replace(DISTRIBUTION, sha256), encoding="utf-8")
        env = {**os.environ, "GRADLE_USER_HOME": str(tmp_path / "home")}
        command = ["sh", str(tmp_path / "gradlew"), ":app:assembleDebug"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    refused = start(DISTRIBUTION)
    assert refused.returncode != 0
    assert "Verification of Gradle distribution failed" in refused.stdout + refused.stderr
    started = start(digest(ours))
    assert "started with :app:assembleDebug" in started.stdout, started.stdout + started.stderr
    assert (DEMO / "gradlew").stat().st_mode & 0o111


def test_nothing_of_a_bundle_is_typed_into_the_app() -> None:
    """No template, stop token or program's name: all that comes from the bundle."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((APP / "java").rglob("*.java")))
    for typed in ("<|", "|>", "<start_of_turn>", "<end_of_turn>", "<eos>", "<bos>", "[INST]", ".pte", ".litertlm"):
        assert f'"{typed}' not in text, typed
        assert f'{typed}"' not in text, typed
    assert "/data/local" not in text


def test_every_text_on_a_screen_is_a_resource() -> None:
    for layout in sorted((APP / "res/layout").glob("*.xml")):
        text = layout.read_text(encoding="utf-8")
        shown = re.findall(r'android:(?:text|hint|contentDescription)="([^"]+)"', text)
        assert all(one.startswith("@string/") for one in shown), layout.name
        assert "textSize" not in text  # sizes come from the theme, so that large text is large here too
        assert all(bar.count("contentDescription") for bar in re.findall(r"<ProgressBar[^>]*>", text)), layout.name


# ---- screens ---------------------------------------------------------------------------------------------------------


def _declared(api: str) -> dict[str, str]:
    """The members of each class and interface, by its full name; modules and classes nest by their tabs."""
    found: dict[str, list[str]] = {}
    outer: list[str] = []
    inside, closing = "", ""
    for line in api.splitlines():
        depth = len(line) - len(line.lstrip("\t"))
        if inside and line != closing:
            found[inside].append(line)
        elif inside:
            inside = ""
        elif module := re.match(r"\t*(?:declare|export) module ([\w.]+) \{", line):
            outer = [*outer[:depth], module[1]]
        elif kind := re.match(r"\t*export (?:abstract )?(?:class|interface) (\w+)", line):
            inside, closing = ".".join([*outer[:depth], kind[1]]), "\t" * depth + "}"
            found.setdefault(inside, [])
    return {name: "\n".join(lines) for name, lines in found.items()}


@pytest.mark.parametrize("level", [26, 34])
def test_every_stub_is_of_androids_own_api(level: int) -> None:
    """What the screens are compiled against exists on the oldest Android that they are for, and on a late one."""
    try:
        package = npm(*API, Silent())
    except LackingError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    api = (package / f"lib/android/android-platform-{level}.d.ts").read_text(encoding="utf-8")
    declared = _declared(api)
    checked = 0
    for file in sorted((SMOKE / "stubs/android").rglob("*.java")):
        name = ".".join(file.relative_to(SMOKE / "stubs").with_suffix("").parts)
        text = file.read_text(encoding="utf-8")
        assert name in declared, name
        bodies = [name, *(key for key in declared if key.startswith(f"{name}."))]
        whole = "".join(declared[key] for key in bodies)
        for member, arguments in re.findall(r"\b(\w+)\(([^()]*)\)(?: throws [\w.]+)?\s*[{;]", text):
            if member in ("super", "text", "number", "only"):
                continue
            count = len([one for one in arguments.split(",") if one.strip()])
            wanted = "constructor" if member in (file.stem, "Builder", "MemoryInfo") else member
            forms = re.findall(rf"\b{wanted}\(([^)]*)\)", whole)
            assert any(len(re.findall(r"\bparam\d+:", form)) == count for form in forms), f"{name}.{member}/{count}"
            checked += 1
        for field in re.findall(r"\bstatic final [\w.<>\[\]]+ (\w+) =", text):
            assert re.search(rf"public static {field}\b", whole), f"{name}.{field}"
            checked += 1
    assert checked > 100


def test_the_whole_app_compiles(smoke: object, tmp_path: Path) -> None:
    import build_apk

    try:
        library = resolve(LIBRARY, "x86_64", Silent())
    except LackingError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    assert library.classes
    _, generated = build_apk.resources(tmp_path, None)
    build_apk.build_config("1.1.0", generated)
    stubs = tmp_path / "stubs"
    build_apk.javac(build_apk.java_files(SMOKE / "stubs"), (), stubs)
    sources = build_apk.java_files(DEMO / "core/src/main/java", APP / "java", generated)
    out = compiled(sources, [stubs, library.classes, build_apk.GSON], tmp_path / "out")
    for name in ("MainActivity", "BundleActivity", "ChatActivity", "ProveActivity", "DemoApp"):
        assert (out / f"org/gemcut/demo/ui/{name}.class").is_file()
    ours = APP / "java/org/gemcut/demo"
    screenless = [path for one in SCREENLESS for path in sorted((ours / one).glob("*.java"))]
    assert screenless
    assert not [path.name for path in screenless if re.search(r"\bandroid\.", path.read_text(encoding="utf-8"))]


def test_a_lambda_is_refused_by_name(smoke: object, tmp_path: Path) -> None:
    from classfile import lower

    (tmp_path / "Late.java").write_text("class Late { Runnable r = () -> {}; }", encoding="utf-8")
    compiled([tmp_path / "Late.java"], [tmp_path], tmp_path)
    with pytest.raises(ValueError, match=r"Late\.class uses a lambda"):
        lower((tmp_path / "Late.class").read_bytes(), "Late.class")


def test_an_apk_is_built_signed_and_holds_the_bundle(
    smoke: object, sample_int4: Exported, core: Core, tmp_path: Path
) -> None:
    bundle = with_prompt(sample_int4.path, tmp_path / "sample")
    apk = tmp_path / "demo.apk"
    command = [sys.executable, str(SMOKE / "build_apk.py"), "--bundle", str(bundle), "--out", str(apk)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "can't fetch" in built.stderr:
        pytest.skip(built.stderr.strip().splitlines()[-1])
    assert built.returncode == 0, built.stderr
    verified = said("apksigner", "verify", "--verbose", apk)
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in verified
    said("zipalign", "-c", "-p", 4, apk)
    with zipfile.ZipFile(apk) as packed:
        infos = {info.filename: info for info in packed.infolist()}
        assets = [info for name, info in infos.items() if name.startswith("assets/bundle/")]
        assert assets
        assert {info.compress_type for info in assets} == {zipfile.ZIP_STORED}
        for info in assets:
            packed.extract(info, tmp_path / "out")
        packed.extract("classes.dex", tmp_path / "out")
        for abi, arch in (("x86_64", "x86_64"), ("arm64-v8a", "aarch64")):
            library = packed.read(f"lib/{abi}/libexecutorch.so")
            assert library == resolve(LIBRARY, arch).file.read_bytes()
            assert f"lib/{abi}/libfbjni.so" in infos
        assert "org/gemcut/demo/session/tools.json" in infos
    dump = said("dexdump", tmp_path / "out/classes.dex")
    classes = set(re.findall(r"Class descriptor\s+: 'L([^;]+);'", dump))
    assert {"org/gemcut/demo/ui/ChatActivity", "org/gemcut/core/Bundle", LLM} <= classes
    assert not [name for name in classes if name.startswith(("android/", "stubs/"))]
    unpacked = tmp_path / "out/assets/bundle"
    (answer,) = core.ask("verify", lines=[unpacked])
    assert answer.get("sha256") == digest(bundle / "manifest.json"), answer


def test_the_smoke_build_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(SMOKE / "build_apk.py"), "--bundle", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no bundle's folder" in done.stderr
