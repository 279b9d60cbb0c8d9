"""Will a runtime run a bundle: by what is known of releases, by the library loaded, and by its strings."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.check import RuntimeCheck, check, library, read_needs
from gemcut.check.outcome import outcome
from gemcut.compat import facts
from gemcut.compat.litert import LiteRTReleases
from gemcut.compat.needs import Requirement, read_executorch
from gemcut.compat.oldest import oldest_loading, refuse_nodes
from gemcut.compat.verdict import by_release, oldest_release
from gemcut.errors import ConformanceError, LackingError, UnsupportedError
from gemcut.runtimes import find_runtime
from gemcut.util.packages import install_command
from gemcut.util.progress import Silent
from packaging.version import Version

from tests.support.exports import Exported
from tests.support.remade_bundles import LATE, remake

OLD, MIDDLE, NEW = "0.7.3", "0.8.4", "0.9.3"  # of react-native-executorch: ExecuTorch 1.0.1, 1.1.0, 1.3.1
Package = Callable[[str], Path]


def single(bundle: Path, text: object, silent: Silent) -> RuntimeCheck:
    (found,) = check(bundle, str(text), silent).runtimes
    return found


def names(found: RuntimeCheck) -> dict[str, str]:
    return {lack.name: lack.kind for lack in found.missing}


def shipped(package: Package, version: str, abi: str = "x86_64") -> Path:
    (path,) = package(f"react-native-executorch@{version}").rglob(f"{abi}/libexecutorch.so")
    return path


# What a program needs


def test_needs_are_read_from_the_program(sample_int4: Exported) -> None:
    with open_bundle(sample_int4.path) as opened:
        needs, notes = read_needs(find_runtime(opened.manifest.runtime.name), opened)
        manifest = opened.manifest
    by_kind = {kind: {need.name for need in needs if need.kind == kind} for kind in ("operator", "backend", "node")}
    assert notes == ()
    assert by_kind["operator"] == set(manifest.kernels)
    assert by_kind["backend"] == {"XnnpackBackend"}
    assert {"XNNFullyConnected", "xnn_datatype_qbint4", "xnn_datatype_qdint8"} <= by_kind["node"]
    assert not by_kind["node"] & {"XNNSin", "XNNCos"}
    assert {
        Requirement("schema", "ET12"),
        Requirement("schema", "XN01"),
        Requirement("schema", "Program.named_data"),
    } <= set(needs)


def test_nodes_are_those_that_executorch_itself_wrote(sine_program: Path) -> None:
    """The blob as ExecuTorch's own flatc reads it."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    nodes = {need.name for need in read_executorch(sine_program) if need.kind == "node"}
    assert nodes == {"XNNSin", "XNNAdd", "xnn_datatype_fp32"}
    program = deserialize_pte_binary(sine_program.read_bytes()).program
    assert [each.id for each in program.execution_plan[0].delegates] == ["XnnpackBackend"]


def test_our_numbers_are_those_of_the_installed_schema() -> None:
    import re

    pytest.importorskip("executorch")
    import executorch.backends.xnnpack.serialization as serialization

    text = Path(serialization.__path__[0], "runtime_schema.fbs").read_text(encoding="utf-8")
    union = re.sub(r"//.*", "", text.partition("union XNodeUnion {")[2].partition("}")[0])
    found = tuple(part.strip().partition(":")[0] for part in union.split(",") if part.strip())
    assert facts.executorch_facts().nodes == found
    enum = text.partition("enum XNNDatatype")[2].partition("}")[0]
    assert facts.executorch_facts().datatypes == tuple(re.findall(r"(xnn_datatype_\w+) = \d+", enum))


@pytest.mark.parametrize("damage", [0, 6, 40, 200])
def test_no_program_is_a_verdict(damage: int, sine_program: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model.pte"
    broken.write_bytes(sine_program.read_bytes()[:damage])
    with pytest.raises(ConformanceError, match=r"model\.pte"):
        list(read_executorch(broken))


def test_a_node_that_nobody_knows_has_a_number(sine_program: Path, tmp_path: Path) -> None:
    """A newer ExecuTorch's blob: the type's byte alone is changed."""
    data = bytearray(sine_program.read_bytes())
    sine = facts.executorch_facts().nodes.index("XNNSin") + 1
    changed = 0
    for place in [i for i, byte in enumerate(data) if byte == sine]:
        data[place] = 99
        other = tmp_path / f"{place}.pte"
        other.write_bytes(data)
        data[place] = sine
        try:
            found = {need.name for need in read_executorch(other)}
        except (ConformanceError, UnicodeDecodeError):
            continue
        changed += "node type 99" in found
    assert changed == 1


# Facts


def test_every_fact_has_a_source() -> None:
    tables = (
        facts.kernels(),
        facts.backends(None),
        facts.backends("executorch-android"),
        facts.program_schemas(),
        facts.xnnpack(),
        facts.containers(),
        facts.operators(),
    )
    assert all(each.source and each.names for table in tables for each in table.known)
    assert all(package.source for package in facts.packages().values())
    for table in tables:
        versions = [Version(each.version) for each in table.known]
        assert versions == sorted(set(versions))


def test_which_nodes_came_with_1_1() -> None:
    table = facts.xnnpack()
    (old,) = (each for each in table.known if each.version == "1.0.1")
    (new,) = (each for each in table.known if each.version == "1.1.0")
    assert new.names - old.names == {"XNNSin", "XNNCos", "XNNCopy"}
    assert old.names <= new.names


@pytest.mark.parametrize(
    ("name", "version", "has"),
    [
        ("XNNSin", "1.0.1", "no"),
        ("XNNSin", "1.1.0", "yes"),
        ("XNNSin", "1.0.9", "unknown"),
        ("XNNSin", "9", "yes"),
        ("XNNSin", "0.1", "no"),
        ("XNNAdd", "0.1", "unknown"),
        ("node type 99", "1.5.1", "no"),
        ("node type 99", "9", "unknown"),
        ("XNNAdd", "1.2.7", "yes"),
        ("XNNScaledDotProductAttention", "0.6.0", "yes"),
        ("XNNScaledDotProductAttention", "0.7.0", "no"),
    ],
)
def test_what_stands_between_two_lists_is_what_both_say(name: str, version: str, has: str) -> None:
    assert facts.xnnpack().ask(name, version) == has


def test_the_maven_library_has_the_backends_that_it_is_built_with() -> None:
    assert facts.backends("executorch-android").ask("VulkanBackend", "1.3.1") == "no"
    assert facts.backends("executorch-android-vulkan").ask("VulkanBackend", "1.3.1") == "yes"
    assert facts.backends("react-native-executorch").ask("VulkanBackend", "1.3.1") == "yes"


# By release


@pytest.mark.parametrize(
    "text",
    [
        "executorch-android==1.0.1",
        "executorch-android==1.1.0",
        "org.pytorch:executorch-android:1.2.0",
        "executorch==1.5.1",
        "react-native-executorch==0.9.3",
    ],
)
def test_the_sample_runs(text: str, sample_int4: Exported, silent: Silent) -> None:
    found = single(sample_int4.path, text, silent)
    assert (found.verdict, found.way, found.missing, found.unknown, found.advice) == ("runs", "release", (), (), ())
    assert found.checked["operator"] == len(json.loads((sample_int4.path / "manifest.json").read_text())["kernels"])
    assert found.sources


def test_a_release_older_than_all_lists_is_not_known(sample_int4: Exported, silent: Silent) -> None:
    found = single(sample_int4.path, "executorch-android==0.7.0", silent)
    assert found.verdict == "unknown"
    assert {lack.kind for lack in found.unknown} == {"operator", "backend"}
    assert any(re.search(r"and \d+ more", lack.name) for lack in found.unknown)
    assert "the library that ships" in " ".join(found.advice)


@pytest.mark.parametrize("version", ["2.0.0", "1.5.2", "1.2.7", "0.0.9"])
def test_a_release_that_nobody_published_is_not_said_to_run(
    version: str, sample_int4: Exported, late_bundle: Path, silent: Silent
) -> None:
    for bundle in (sample_int4.path, late_bundle):
        found = single(bundle, f"executorch-android=={version}", silent)
        assert (found.verdict, found.missing) == ("unpublished", ())
        assert [lack.why for lack in found.unknown] == ["no such release is known; the newest known is 1.5.1"]
        assert "correct the version" in found.advice[0]
        assert "the library that ships" in found.advice[1]
        (finding,) = outcome(check(bundle, f"executorch-android=={version}", silent)).findings
        assert (finding.rule, finding.exit_code, finding.passed) == ("runtime.unknown", 4, False)
        assert finding.message == f"executorch-android {version}: no such release is known; the newest known is 1.5.1"


def test_builds_before_a_release_count_as_that_release(sample_int4: Exported, silent: Silent) -> None:
    for version in ("1.1.0-SNAPSHOT", "1.3.1-rc3"):
        assert single(sample_int4.path, f"executorch-android=={version}", silent).verdict == "runs"
    assert single(sample_int4.path, "executorch-android==1.1.1-SNAPSHOT", silent).verdict == "unpublished"


def test_every_release_with_facts_is_known_to_be_published() -> None:
    for name, package in facts.packages().items():
        versions = [Version(each) for each in package.published]
        assert versions == sorted(set(versions)), name
        assert package.published, name
        assert package.published_source, name
        assert {Version(each) for each in package.releases} <= set(versions), name
    android = facts.packages()["executorch-android"]
    assert {each.version for each in (*facts.kernels().known, *facts.xnnpack().known)} <= set(android.published)
    assert {each.version for each in facts.containers().known} <= set(facts.packages()["litertlm-android"].published)


def test_an_operator_that_is_missing(late_bundle: Path, silent: Silent) -> None:
    found = single(late_bundle, "executorch-android==1.1.0", silent)
    assert (found.verdict, names(found)) == ("fails", {LATE: "operator"})
    assert found.missing[0].newer == "1.3.1"
    assert "0x14" in found.missing[0].why
    assert "ship ExecuTorch 1.3.1" in found.advice[0]
    assert 'executorch = "1.1.0" under [oldest_runtime]' in found.advice[1]
    assert single(late_bundle, "executorch-android==1.2.0", silent).verdict == "unknown"
    assert single(late_bundle, "executorch-android==1.3.1", silent).verdict == "runs"


def test_an_export_for_a_release_without_the_node_is_refused(sine_program: Path, late_program: Path) -> None:
    refuse_nodes(sine_program, "1.1.0")
    refuse_nodes(late_program, "1.0.1")
    with pytest.raises(UnsupportedError, match=r"ExecuTorch 1\.0\.1, .*error 0x11.*: XNNSin\.") as caught:
        refuse_nodes(sine_program, "1.0.1")
    assert 'executorch = "1.1.0"' in str(caught.value.hint)
    assert oldest_loading(sine_program, (), ()) == "1.1.0"


def test_a_node_that_is_missing(sine_bundle: Path, silent: Silent) -> None:
    found = single(sine_bundle, "executorch-android==1.0.1", silent)
    assert (found.verdict, names(found)) == ("fails", {"XNNSin": "node"})
    assert single(sine_bundle, "executorch-android==1.1.0", silent).verdict == "runs"


def test_the_other_runtime(sample_int4: Exported, sample_litert: Exported, silent: Silent, tmp_path: Path) -> None:
    found = single(sample_int4.path, "litertlm-android==0.11.0", silent)
    assert (found.verdict, names(found)) == ("fails", {"ExecuTorch": "runtime"})
    assert found.advice == ("export for the app's own runtime: gemcut export --runtime litert",)
    assert single(sample_litert.path, "executorch-android==1.1.0", silent).verdict == "fails"
    both = tmp_path / "build.gradle"
    both.write_text(
        "implementation 'com.google.ai.edge.litertlm:litertlm-android:0.11.0'\n"
        "implementation 'org.pytorch:executorch-android:1.1.0'\n"
    )
    assert single(sample_int4.path, both, silent).package == "executorch-android"
    assert single(sample_litert.path, both, silent).package == "litertlm-android"


def test_of_several_the_worst_decides(late_bundle: Path, silent: Silent, tmp_path: Path) -> None:
    build = tmp_path / "build.gradle"
    build.write_text(
        "implementation 'org.pytorch:executorch-android:1.3.1'\n"
        "oldImplementation 'org.pytorch:executorch-android:1.1.0'\n"
    )
    found = check(late_bundle, str(build), silent)
    assert found.verdict == "fails"
    assert [(one.version, one.line) for one in found.runtimes] == [("1.1.0", 2), ("1.3.1", 1)]


# LiteRT


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("0.11.0", "runs"),
        ("0.18.1", "runs"),
        ("0.12.5", "unpublished"),
        ("0.13.1", "runs"),
        ("0.6.1", "fails"),
        ("0.8.0", "unknown"),
        ("0.19.1", "may"),
        ("1.0.0", "unpublished"),
    ],
)
def test_litert(version: str, verdict: str, sample_litert: Exported, silent: Silent) -> None:
    found = single(sample_litert.path, f"litertlm-android=={version}", silent)
    assert found.verdict == verdict
    if verdict == "fails":
        assert names(found)["LlmMetadata.jinja_prompt_template"] == "metadata"
        assert "LlmMetadata.llm_model_type.gemma4" not in names(found)  # within one that is missing itself
        assert "ship LiteRT-LM 0.11.0" in found.advice[0]
        assert "target" not in " ".join(found.advice)  # an export isn't held to a release of LiteRT-LM
    if verdict == "unknown":
        assert "on the phone" in " ".join(found.advice)


def test_litert_operators_sections_and_versions() -> None:
    def missing(version: str, *needs: Requirement) -> tuple[list[str], list[str]]:
        found = by_release(LiteRTReleases(), needs, version, "litertlm-android")
        return [lack.name for lack in found.missing], [lack.name for lack in found.unknown]

    new = Requirement("operator", "FULLY_CONNECTED.v14")
    assert missing("0.6.1", new, Requirement("operator", "FULLY_CONNECTED.v13")) == ([new.name], [])
    assert missing("0.11.0", new) == ([], [new.name])
    (lack,) = by_release(LiteRTReleases(), (new,), "0.11.0", None).unknown
    assert "LiteRT has it since 2.1.0" in lack.why
    assert missing("0.11.0", Requirement("section", "TtsMetadataProto")) == (["TtsMetadataProto"], [])
    assert missing("0.18.1", Requirement("section", "TtsMetadataProto")) == ([], [])
    assert missing("0.18.1", Requirement("schema", "container 2"), Requirement("schema", "TFL4")) == (
        ["container 2"],
        ["TFL4"],
    )
    assert missing("0.16.0", Requirement("metadata", "LlmMetadata.pad_token")) == ([], [])
    assert oldest_release(LiteRTReleases(), None, [Requirement("metadata", "LlmMetadata.suppress_tokens")]) == "0.15.0"


# By the library


@pytest.mark.usefixtures("loading")
@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
def test_the_sample_runs_in_the_library(version: str, sample_int4: Exported, package: Package, silent: Silent) -> None:
    package(f"react-native-executorch@{version}")
    found = single(sample_int4.path, f"npm:react-native-executorch@{version}", silent)
    assert (found.verdict, found.way, found.missing, found.unknown) == ("runs", "library", (), ())
    assert found.version == {OLD: "1.0.1", MIDDLE: "1.1.0", NEW: "1.3.1"}[version]


@pytest.mark.usefixtures("loading")
@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
@pytest.mark.parametrize("program", ["late", "sine"])
def test_what_is_missing_is_named_alike_three_ways(
    version: str,
    program: str,
    late_bundle: Path,
    sine_bundle: Path,
    package: Package,
    silent: Silent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the release's lists, by loading the library, and by its strings."""
    bundle = {"late": late_bundle, "sine": sine_bundle}[program]
    known = {("late", OLD): {LATE}, ("late", MIDDLE): {LATE}, ("sine", OLD): {"XNNSin"}}
    lacking = known.get((program, version), set())
    file = shipped(package, version)
    by_list = single(bundle, f"react-native-executorch=={version}", silent)
    loaded = single(bundle, file, silent)

    def never(*_: object) -> None:
        raise LackingError("no compiler here", hint="apt-get install g++")

    monkeypatch.setattr(library, "_prepared", never)
    read = single(bundle, file, silent)
    assert [set(names(one)) for one in (by_list, loaded, read)] == [lacking] * 3
    assert [one.way for one in (by_list, loaded, read)] == ["release", "library", "strings"]
    fails = "fails" if lacking else None
    assert [one.verdict for one in (by_list, loaded, read)] == [fails or "runs", fails or "runs", fails or "may"]
    assert any("no compiler here" in note for note in read.notes)


@pytest.mark.usefixtures("loading")
def test_the_verdict_is_what_the_library_does(
    sine_program: Path, package: Package, tmp_path: Path, silent: Silent
) -> None:
    """The node that 1.0.1 is said to lack is what its load fails on, and 1.1.0 loads it."""
    import numpy as np
    from gemcut.devices import make_device

    said = {}
    for version in (OLD, MIDDLE):
        package(f"react-native-executorch@{version}")
        device = make_device(f"android-lib:npm:react-native-executorch@{version}")
        work = tmp_path / version
        work.mkdir()
        device.prepare("executorch", work, silent)
        try:
            order = work / "order.bin"
            # One golden of one token: goldens, chunk, context, stops, stop; prompt, ids, first, rows, width, most; id.
            order.write_bytes(b"GCORDER1" + np.array([1, 1, 8, 1, 0, 1, 1, 0, 0, 1, 1, 5], "<i4").tobytes())
            device.push(sine_program, "model.pte")
            device.push(order, "order.bin")
            done = device.run((*device.runner("executorch"), "run", "model.pte", "order.bin", "result.bin", "1"), 60)
            said[version] = json.loads(done.stdout) if done.code else {}
        finally:
            device.close()
    assert said[OLD]["code"] == 0x11
    assert "XnnpackBackend" in said[OLD]["error"]
    assert "inputs" in said[MIDDLE]["error"]  # it was loaded: only then is it seen to be no decoder


@pytest.mark.usefixtures("loading")
@pytest.mark.parametrize(("suffix", "folder"), [("aar", "jni"), ("apk", "lib"), ("aab", "base/lib")])
def test_archives(
    suffix: str, folder: str, late_bundle: Path, package: Package, tmp_path: Path, silent: Silent
) -> None:
    archive = tmp_path / f"app.{suffix}"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(shipped(package, MIDDLE), f"{folder}/x86_64/libexecutorch.so")
        packed.write(shipped(package, NEW, "arm64-v8a"), f"{folder}/arm64-v8a/libexecutorch.so")
        packed.writestr(f"{folder}/x86_64/libc++_shared.so", b"\x7fELF")
    found = single(late_bundle, archive, silent)
    assert (found.verdict, found.way, names(found)) == ("fails", "library", {LATE: "operator"})


@pytest.mark.usefixtures("loading")
def test_every_abi_counts(late_bundle: Path, package: Package, tmp_path: Path, silent: Silent) -> None:
    """The x86-64 library has the operator; the phone's has not."""
    archive = tmp_path / "app.apk"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(shipped(package, NEW), "lib/x86_64/libexecutorch.so")
        packed.write(shipped(package, MIDDLE, "arm64-v8a"), "lib/arm64-v8a/libexecutorch.so")
    found = single(late_bundle, archive, silent)
    assert (found.verdict, names(found)) == ("fails", {LATE: "operator"})


def test_a_library_of_another_kind(
    sample_int4: Exported, sample_litert: Exported, package: Package, tmp_path: Path, silent: Silent
) -> None:
    archive = tmp_path / "app.apk"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("lib/arm64-v8a/libother.so", b"\x7fELF and more")
    assert names(single(sample_int4.path, archive, silent)) == {"ExecuTorch": "runtime"}
    assert single(sample_litert.path, shipped(package, MIDDLE), silent).verdict == "fails"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("lib/arm64-v8a/liblitertlm_jni.so", b"\x7fELF _ZN6litert2lm6Engine")
    found = single(sample_litert.path, archive, silent)
    assert (found.verdict, found.way) == ("unknown", "strings")
    assert "litertlm-android==VERSION" in " ".join(found.advice)
    empty = tmp_path / "empty.apk"
    with zipfile.ZipFile(empty, "w") as packed:
        packed.writestr("classes.dex", b"")
    with pytest.raises(UnsupportedError, match="contains no shared library"):
        check(sample_int4.path, str(empty), silent)
    other = tmp_path / "lib.so"
    other.write_bytes(b"text")
    with pytest.raises(UnsupportedError, match="neither a shared library"):
        check(sample_int4.path, str(other), silent)


def test_a_library_of_no_known_version_is_what_it_has(
    sample_int4: Exported, package: Package, tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "libmine.so"
    mine.write_bytes(shipped(package, MIDDLE, "arm64-v8a").read_bytes() + b"\0")

    def never(*_: object) -> None:
        raise LackingError("nothing here")

    monkeypatch.setattr(library, "_prepared", never)
    opened = library.open_library(str(mine), find_runtime("executorch"), silent)
    assert opened is not None
    assert (opened.version, opened.at_least) == (None, "1.1.0")
    found = single(sample_int4.path, mine, silent)
    assert (found.verdict, found.version) == ("may", "")
    cut = tmp_path / "libcut.so"  # a build that left an operator out
    cut.write_bytes(mine.read_bytes().replace(b"llama::custom_sdpa.out\0", b"llama::custom_nope.out\0"))
    assert names(single(sample_int4.path, cut, silent)) == {"llama::custom_sdpa.out": "operator"}


# Reports and the command line


def test_outcome(late_bundle: Path, sample_int4: Exported, silent: Silent, tmp_path: Path) -> None:
    build = tmp_path / "build.gradle"
    build.write_text("\nimplementation 'org.pytorch:executorch-android:1.1.0'\n")
    found = outcome(check(late_bundle, str(build), silent))
    assert (found.action, found.state, found.passed) == ("check", "failed", False)
    (failure,) = found.failures
    assert (failure.rule, failure.exit_code) == ("runtime.operator", 6)
    assert LATE in failure.message
    assert failure.place is not None
    assert (failure.place.path, failure.place.line) == (str(build), 2)
    assert {one.rule for one in found.findings if one.passed} == {"runtime.backend", "runtime.node", "runtime.schema"}
    unknown = outcome(check(late_bundle, "executorch-android==1.2.0", silent))
    assert [(one.rule, one.exit_code) for one in unknown.failures] == [("runtime.unknown", 4)]
    assert outcome(check(sample_int4.path, "executorch-android==1.1.0", silent)).passed


def test_a_changed_bundle_is_not_checked(sample_int4: Exported, silent: Silent, tmp_path: Path) -> None:
    import shutil

    changed = tmp_path / "bundle"
    shutil.copytree(sample_int4.path, changed)
    data = bytearray((changed / "model.pte").read_bytes())
    data[len(data) // 2] ^= 1
    (changed / "model.pte").write_bytes(data)
    with pytest.raises(ConformanceError):
        check(changed, "executorch-android==1.1.0", silent)


def test_without_the_runtimes_the_manifest_alone_is_read(
    sample_litert: Exported, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemcut.compat import needs

    def missing(_: Path) -> None:
        raise LackingError("litert-lm-builder isn't installed.", hint=install_command("litert"))

    monkeypatch.setattr(needs, "read_litert", missing)
    found = single(sample_litert.path, "litertlm-android==0.11.0", silent)
    assert found.verdict == "may"
    assert any("weren't checked" in note for note in found.notes)


def test_a_manifest_that_hides_an_operator_is_found_out(late_bundle: Path, tmp_path: Path, silent: Silent) -> None:
    """Needs are the program's own, whatever the manifest says."""
    bundle = remake(late_bundle, tmp_path / "bundle", kernels=(), operators=())
    assert names(single(bundle, "executorch-android==1.1.0", silent)) == {LATE: "operator"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``run(arguments)``: exit code, stdout and stderr of ``gemcut check``."""
    from gemcut import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setitem(cli.COMMANDS, "check", "Say whether an app's runtime will run a bundle.")
        code = cli.main(["check", *map(str, arguments)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_exit_codes_and_what_is_shown(
    run: Callable[..., tuple[int, str, str]], sample_int4: Exported, late_bundle: Path
) -> None:
    code, out, _ = run(sample_int4.path, "--runtime", "executorch-android==1.1.0")
    assert (code, out.splitlines()[0]) == (0, f"it runs: {sample_int4.path.name} on executorch-android 1.1.0")
    code, out, err = run(late_bundle, "--runtime", "executorch-android==1.1.0")
    assert code == 6
    assert out.splitlines()[0] == f"it does NOT run: {late_bundle.name} on executorch-android 1.1.0"
    assert LATE in out
    assert "ship ExecuTorch 1.3.1" in out
    assert f"failed: executorch-android 1.1.0 lacks {LATE}" in err
    code, out, _ = run(late_bundle, "--runtime", "executorch-android==1.2.0")
    assert (code, out.splitlines()[0].partition(": ")[0]) == (4, "it isn't known whether it runs")
    code, out, err = run(late_bundle, "--runtime", "executorch-android==9.9")
    assert (code, out.splitlines()[0]) == (
        4,
        "no such release is known: executorch-android 9.9 (the newest known is 1.5.1)",
    )
    assert "failed: executorch-android 9.9: no such release is known" in err
    code, _, err = run(late_bundle, "--runtime", "executorch-andriod==1.2.0")
    assert (code, "did you mean 'executorch-android'" in err) == (4, True)
    assert run(late_bundle)[0] == 2
    assert run(late_bundle.parent / "none", "--runtime", "executorch-android==1.2.0")[0] == 2


def test_of_several_runtimes_the_first_line_has_the_worst(
    run: Callable[..., tuple[int, str, str]], late_bundle: Path, tmp_path: Path
) -> None:
    build = tmp_path / "build.gradle"
    build.write_text(
        "implementation 'org.pytorch:executorch-android:1.3.1'\n"
        "oldImplementation 'org.pytorch:executorch-android:1.1.0'\n"
    )
    code, out, _ = run(late_bundle, "--runtime", build)
    lines = out.splitlines()
    assert code == 6
    assert lines[0].startswith(f"it does NOT run: {late_bundle.name} on executorch-android 1.1.0 (")
    assert lines[0].endswith("build.gradle:2) (1 of the 2 that were found)")
    assert any(re.fullmatch(r"executorch-android 1\.3\.1 \(.*build\.gradle:1\): it runs", line) for line in lines)


def test_json_and_reports(run: Callable[..., tuple[int, str, str]], late_bundle: Path, tmp_path: Path) -> None:
    junit, sarif = tmp_path / "junit.xml", tmp_path / "check.sarif"
    words = ("--runtime", "executorch-android==1.1.0", "--junit", junit, "--sarif", sarif)
    code, out, _ = run(late_bundle, *words, "--json")
    document = json.loads(out)
    assert (code, document["verdict"]) == (6, "fails")
    (one,) = document["runtimes"]
    assert [(lack["kind"], lack["name"], lack["newer"]) for lack in one["missing"]] == [("operator", LATE, "1.3.1")]
    assert LATE in junit.read_text(encoding="utf-8")
    (result,) = json.loads(sarif.read_text(encoding="utf-8"))["runs"][0]["results"]
    assert result["ruleId"] == "runtime.operator"
