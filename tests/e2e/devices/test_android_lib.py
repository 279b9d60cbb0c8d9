"""The app's own Android library: found, kept as it ships, and run here on the sample, through C++ and through Java."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.devices import Options, make_device
from gemcut.devices.android import java, shims, toolchain
from gemcut.devices.android.device import AndroidDevice, write_root
from gemcut.devices.android.libraries import AndroidLibrary, check, parse_npm, resolve
from gemcut.devices.replay import Subject, missing_kernels, prove_on
from gemcut.errors import ConformanceError, LackingError, UnsupportedError, UsageError
from gemcut.prove.golden import Recorded
from gemcut.prove.wire import write_order
from gemcut.util.progress import Silent

from tests.support.exports import Exported

PACKAGE = "npm:react-native-executorch@0.8.4"
OLDEST = "npm:react-native-executorch@0.7.3"
NEWER = "npm:react-native-executorch@0.9.3"
# Of the x86-64 library in that package, as `sha256sum` gives it.
SHA256 = "23ae791531256f7db76ab93180ca8d12bb049b6a72ccd2ce9c4afcc492e7086b"
X86_64 = pytest.mark.skipif(toolchain.machine() != "x86_64", reason="it looks at the x86-64 library: run it there")

Ready = Callable[[str, str], None]


@pytest.fixture(scope="module")
def library(ready: Ready) -> AndroidLibrary:
    """The default library, for x86-64."""
    ready("android-lib", "executorch")
    return resolve(PACKAGE, "x86_64")


@pytest.fixture(scope="module")
def subject(sample_int4: Exported, subject_of_bundle: Callable[[Path], Subject]) -> Subject:
    return subject_of_bundle(sample_int4.path)


def first(subject: Subject, count: int) -> Subject:
    """With the first so many goldens: enough where many devices run them."""
    return replace(subject, goldens=subject.goldens[:count], host=subject.host[:count])


@contextmanager
def prepared(spec: str, work: Path) -> Iterator[AndroidDevice]:
    device = make_device(spec, Options(seconds=300))
    assert isinstance(device, AndroidDevice)
    device.prepare("executorch", work, Silent())
    try:
        yield device
    finally:
        device.close()


# ---- finding it ------------------------------------------------------------------------------------------------------


def test_npm_package_keeps_the_file_as_it_ships(library: AndroidLibrary) -> None:
    assert library.sha256 == SHA256 == hashlib.sha256(library.file.read_bytes()).hexdigest()
    assert (library.name, library.version) == ("libexecutorch.so", "about 1.1.0")
    assert library.classes is not None
    assert zipfile.is_zipfile(library.classes)


@pytest.mark.parametrize(("suffix", "folder", "classes"), [("aar", "jni", True), ("apk", "lib", False)])
def test_archive(library: AndroidLibrary, tmp_path: Path, suffix: str, folder: str, classes: bool) -> None:
    archive = tmp_path / f"app.{suffix}"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(library.file, f"{folder}/x86_64/libexecutorch.so")
        packed.writestr(f"{folder}/x86_64/libother.so", b"\x7fELF and more")
        if classes and library.classes:
            packed.write(library.classes, "classes.jar")
    found = resolve(str(archive), "x86_64")
    assert (found.sha256, found.version) == (SHA256, library.version)
    assert found.file.read_bytes() == library.file.read_bytes()
    assert (found.classes is not None) == classes
    with pytest.raises(UnsupportedError, match="no library for arm64-v8a; it holds libraries for x86_64"):
        resolve(str(archive), "aarch64")


def test_shared_library_by_path(library: AndroidLibrary, tmp_path: Path) -> None:
    path = tmp_path / "libmine.so"
    shutil.copyfile(library.file, path)
    found = resolve(str(path), "x86_64")
    assert (found.name, found.sha256, found.classes) == ("libmine.so", SHA256, None)
    assert java.why_not(found) is not None
    with pytest.raises(UnsupportedError, match="is for x86_64, not for aarch64"):
        resolve(str(path), "aarch64")


def test_a_changed_copy_is_made_anew(library: AndroidLibrary) -> None:
    library.file.write_bytes(b"changed")
    again = resolve(PACKAGE, "x86_64")
    assert hashlib.sha256(again.file.read_bytes()).hexdigest() == SHA256


def test_unknown_library_has_an_unknown_version(library: AndroidLibrary, tmp_path: Path) -> None:
    path = tmp_path / "libexecutorch.so"
    path.write_bytes(library.file.read_bytes() + b"\0")
    assert resolve(str(path), "x86_64").version == "unknown"


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "release.apk").write_bytes(b"")
    with pytest.raises(UsageError, match=r"did you mean 'release\.apk'"):
        check(str(tmp_path / "relaese.apk"), "x86_64")


@pytest.mark.parametrize("text", ["npm:react-native-executorch", "npm:@0.8.4", "npm:"])
def test_npm_wants_a_version(text: str) -> None:
    with pytest.raises(UsageError, match="npm:PACKAGE@VERSION"):
        parse_npm(text)
    assert parse_npm("npm:@scope/name@1.0") == ("@scope/name", "1.0")


def test_an_unknown_package_is_lacking(ready: Ready) -> None:
    ready("android-lib", "executorch")
    with pytest.raises(LackingError, match="npm can't fetch"):
        resolve("npm:react-native-executorch@0.0.0-none", "x86_64")


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no library", encoding="utf-8")
    with pytest.raises(UnsupportedError, match="neither a shared library nor"):
        check(str(text), "x86_64")
    empty = tmp_path / "empty.apk"
    with zipfile.ZipFile(empty, "w") as packed:
        packed.writestr("classes.dex", b"")
    with pytest.raises(UnsupportedError, match="no Android library at all"):
        check(str(empty), "x86_64")
    strange = tmp_path / "libc.so"
    strange.write_bytes(b"\x7fELF" + bytes(14) + b"\x3e\0" + bytes(64))
    with pytest.raises(UnsupportedError, match="isn't an ExecuTorch library"):
        check(str(strange), "x86_64")
    strange.write_bytes(b"\x7fELF" + bytes(14) + b"\x3e\0" + b"_ZN5torch8executor7Program4load")
    with pytest.raises(UnsupportedError, match=r"before 0\.4"):
        check(str(strange), "x86_64")
    other = tmp_path / "other.apk"
    with zipfile.ZipFile(other, "w") as packed:
        packed.writestr("lib/x86_64/libreact.so", b"\x7fELF")
    with pytest.raises(UnsupportedError, match=r"no ExecuTorch library for x86_64, only libreact\.so"):
        check(str(other), "x86_64")


def test_other_runtimes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="not litert bundles"):
        make_device("android-lib").refuse("litert", "2.3.0")
    assert make_device("android-lib").spec == f"android-lib:{PACKAGE}"


# ---- building it -----------------------------------------------------------------------------------------------------


@X86_64
def test_the_library_in_the_process_is_the_shipped_one(library: AndroidLibrary) -> None:
    home = shims.build(library, "x86_64")
    placed = home / toolchain.dynamic(library.file)[0]
    assert hashlib.sha256(placed.read_bytes()).hexdigest() == SHA256
    linked = subprocess.run(["ldd", str(home / shims.RUNNER)], capture_output=True, text=True, check=True).stdout
    assert "libstdc++" not in linked
    assert f"{home}/libc.so " in linked
    placed.chmod(0o644)
    placed.write_bytes(b"changed")
    assert (shims.build(library, "x86_64") / placed.name).read_bytes() == library.file.read_bytes()


@X86_64
def test_a_function_that_glibc_lacks_ends_the_process_by_name(ready: Ready, tmp_path: Path) -> None:
    """A library of our own with an import that no C library here has: it loads, and says so when it calls."""
    ready("android-lib", "executorch")
    (tmp_path / "lib.map").write_text("LIBC { global: *; };\n", encoding="utf-8")
    system = "void android_only(void) {} unsigned long strlen(const char *s) { return 0; }\n"
    (tmp_path / "sys.c").write_text(system, encoding="utf-8")
    (tmp_path / "lib.c").write_text(
        "void android_only(void); unsigned long strlen(const char *);\n"
        "unsigned long length(const char *s) { return strlen(s); }\nvoid call(void) { android_only(); }\n",
        encoding="utf-8",
    )
    gcc = ("gcc", "-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-w")
    (tmp_path / "android").mkdir()
    versioned = ("-Wl,-soname,libc.so", "-Wl,--version-script=lib.map")
    toolchain.call((*gcc, *versioned, "-o", "android/libc.so", "sys.c"), tmp_path)
    toolchain.call((*gcc, "-o", "libmine.so", "lib.c", "android/libc.so"), tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    imports = shims.make_system([tmp_path / "libmine.so"], "x86_64", out)
    assert set(imports.versioned) == {"android_only", "strlen"}
    (out / "main.c").write_text(
        "#include <stdio.h>\nunsigned long length(const char *); void call(void);\n"
        'int main(void) { printf("%lu\\n", length("four")); fflush(stdout); call(); return 0; }\n',
        encoding="utf-8",
    )
    shutil.copyfile(tmp_path / "libmine.so", out / "libmine.so")
    toolchain.call(("gcc", "-o", "main", "main.c", "libmine.so", shims.BESIDE, "-Wl,--allow-shlib-undefined"), out)
    done = subprocess.run([str(out / "main")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-6, "4\n")
    assert "called android_only, which is missing here" in done.stderr


def test_root_for_an_emulated_cpu(tmp_path: Path) -> None:
    write_root("processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: fp asimd\n", tmp_path)
    assert (tmp_path / "sys/devices/system/cpu/possible").read_text() == "0-1\n"
    write_root("processor\t: 0\nFeatures\t: fp asimd\n", tmp_path)
    assert (tmp_path / "sys/devices/system/cpu/present").read_text() == "0\n"


# ---- running it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [PACKAGE, NEWER])
def test_sample_in_core_and_java(subject: Subject, ready: Ready, tmp_path: Path, silent: Silent, text: str) -> None:
    spec = f"android-lib:{text}"
    ready(spec, "executorch")
    if java.find_jdk() is None:
        pytest.skip(f"no Java development kit here: apt-get install {java.PACKAGE}")
    some = first(subject, 8)
    verdict = prove_on(some, spec, tmp_path, silent)
    assert verdict.passed, verdict.failures
    assert verdict.facts is not None
    assert verdict.facts.library is not None
    assert verdict.facts.library.sha256 == resolve(text, toolchain.machine()).sha256
    assert "XnnpackBackend" in verdict.facts.backends
    assert not missing_kernels(subject.bundle.manifest.operators, verdict.facts.kernels)
    assert verdict.peak_memory > 1 << 20
    (found,) = verdict.checks
    assert (found.name, found.applies, found.rate) == ("java_text", len(some.goldens), 1.0)


def test_the_oldest_library_runs_it_too(subject: Subject, ready: Ready, tmp_path: Path, silent: Silent) -> None:
    """ExecuTorch 1.0's delegate knows fewer nodes than today's (``NEWER_NODES``), which no list of kernels says."""
    ready("android-lib", "executorch")
    verdict = prove_on(first(subject, 2), f"android-lib:{OLDEST}", tmp_path, silent)
    assert verdict.passed, verdict.failures
    assert verdict.facts is not None
    assert verdict.facts.library is not None
    assert verdict.facts.library.version == "about 1.0.1"


def test_sample_on_arm64(subject: Subject, ready: Ready, tmp_path: Path, silent: Silent) -> None:
    ready("android-lib-arm64", "executorch")
    verdict = prove_on(first(subject, 3), "android-lib-arm64", tmp_path, silent)
    assert verdict.passed, verdict.failures
    assert verdict.facts is not None
    assert (verdict.facts.architecture, verdict.facts.emulated) == ("aarch64", True)
    assert {"asimddp", "atomics"} <= set(verdict.facts.features)


def test_kernels_that_a_library_lacks(ready: Ready, tmp_path: Path) -> None:
    ready("android-lib", "executorch")
    kernels = {}
    for text in (PACKAGE, NEWER):
        with prepared(f"android-lib:{text}", tmp_path / text[-5:]) as device:
            kernels[text] = device.facts("executorch").kernels
    new = "aten::var_mean.correction_out"
    assert missing_kernels((new, "aten::add.out"), kernels[PACKAGE]) == (new,)
    assert missing_kernels((new, "aten::add.out"), kernels[NEWER]) == ()


def test_an_operator_that_it_lacks_is_named(subject: Subject, ready: Ready, tmp_path: Path, silent: Silent) -> None:
    ready("android-lib", "executorch")
    bundle = open_bundle(subject.bundle.path)
    bundle.manifest = bundle.manifest.model_copy(
        update={"operators": ("aten::nothing.out",), "kernels": ("aten::nothing.out",)}
    )
    verdict = prove_on(replace(first(subject, 1), bundle=bundle), "android-lib", tmp_path, silent)
    assert "lacks the operator aten::nothing.out" in verdict.refused
    assert "about 1.1.0" in verdict.refused
    assert not verdict.passed


def test_a_damaged_program_is_a_verdict(subject: Subject, ready: Ready, tmp_path: Path, silent: Silent) -> None:
    """The flatbuffer's tables in ruins: the library, which verifies nothing, crashes or refuses; we do neither."""
    ready("android-lib", "executorch")
    data = bytearray(subject.bundle.program.read_bytes())
    for at in range(64, 4096, 3):
        data[at] ^= 0xFF
    broken = tmp_path / "broken"
    shutil.copytree(subject.bundle.path, broken)
    (broken / subject.bundle.manifest.program).write_bytes(data)
    with open_bundle(broken) as bundle:
        verdict = prove_on(replace(first(subject, 1), bundle=bundle), "android-lib", tmp_path, silent)
    assert not verdict.passed
    assert "crashed on this program (signal" in verdict.refused or "can't be run" in verdict.refused


def test_a_crash_is_finished_with_its_signal(subject: Subject, ready: Ready, tmp_path: Path) -> None:
    """The first of many single flips that the library dies of: seen as a signal, in time, and nothing is left."""
    ready("android-lib", "executorch")
    some, manifest = first(subject, 1), subject.bundle.manifest
    order = tmp_path / "order.bin"
    write_order(some.goldens, manifest.prefill_chunk, manifest.context, manifest.stop_ids, order, host=some.host)
    original = subject.bundle.program.read_bytes()
    with prepared("android-lib", tmp_path) as device:
        device.push(order, "order.bin")
        for at in range(0x40, 0x40 + 160):
            changed = tmp_path / "changed.pte"
            changed.write_bytes(original[:at] + bytes([original[at] ^ 0x40]) + original[at + 1 :])
            device.push(changed, "model.pte")
            done = device.run((*device.runner("executorch"), "run", "model.pte", "order.bin", "result.bin", "1"), 60)
            if done.signal:
                break
        else:
            pytest.fail("none of 160 flips in the program's header and root table made the library crash")
    assert done.signal in (6, 7, 11)


# ---- Java ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_java(ready: Ready) -> None:
    ready("android-lib", "executorch")
    if toolchain.machine() != "x86_64":
        pytest.skip("the Java door is for x86-64 alone")
    if java.find_jdk() is None:
        pytest.skip(f"no Java development kit here: apt-get install {java.PACKAGE}")


@pytest.mark.usefixtures("with_java")
def test_java_finds_a_wrong_record(subject: Subject, library: AndroidLibrary, tmp_path: Path, silent: Silent) -> None:
    """A record with another golden's reply: LlmModule's differs from it, and from it alone."""
    some = first(subject, 4)
    right = java.java_text(library, some.bundle, some.goldens, some.host, tmp_path, 300, silent)
    assert right is not None
    assert (right.applies, right.misses) == (4, ())
    own = some.host[0]
    other = next(one for one in subject.host if one.greedy_ids[0] != own.greedy_ids[0])
    swapped = replace(own, greedy_ids=other.greedy_ids, greedy_text=other.greedy_text)
    host: tuple[Recorded, ...] = (swapped, *some.host[1:])
    wrong = java.java_text(library, some.bundle, some.goldens, host, tmp_path, 300, silent)
    assert wrong is not None
    assert [miss.prompt for miss in wrong.misses] == [some.goldens[0].prompt.id]
    assert own.greedy_text[:20] in wrong.misses[0].detail


@pytest.mark.usefixtures("with_java")
def test_java_adds_no_bos(subject: Subject, library: AndroidLibrary, tmp_path: Path, silent: Silent) -> None:
    golden, host = subject.goldens[0], subject.host[0]
    home = java.build(library, silent)
    length = len(golden.prompt_ids) + len(host.greedy_ids)
    asked = (java.Asked(golden.rendered, length), java.Asked("<bos>" + golden.rendered, length + 1))
    tokenizer = subject.bundle.file("tokenizer.json")
    once, twice = java.ask(home, subject.bundle.program.resolve(), tokenizer.resolve(), asked, tmp_path, 300)
    assert once.prompt_tokens == len(golden.prompt_ids)
    assert twice.prompt_tokens == len(golden.prompt_ids) + 1


@pytest.mark.usefixtures("with_java")
def test_java_without_a_program_is_a_verdict(library: AndroidLibrary, tmp_path: Path, silent: Silent) -> None:
    home = java.build(library, silent)
    nothing = tmp_path / "none.pte"
    with pytest.raises(ConformanceError, match="LlmModule"):
        java.ask(home, nothing, nothing, (java.Asked("a", 8),), tmp_path, 120)
