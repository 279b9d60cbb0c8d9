"""arm64-user: its profiles, what it refuses before anything is tried, and real runs of the sample under qemu-user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gemcut.devices import Options, guest_package, make_device
from gemcut.devices.arm64 import profiles
from gemcut.devices.replay import prove_on
from gemcut.errors import ConformanceError, LackingError, UnsupportedError, UsageError
from gemcut.pipeline.failures import DeviceFailed
from gemcut.runtimes.executorch.golden_runner import build
from gemcut.runtimes.litert import PLUGIN
from gemcut.runtimes.program import Artifacts

FEW = {"executorch": 4, "litert": 2}  # goldens, the shortest: emulation is some thirty times slower
SCALED = "stride, width) * scale"  # attention's scores in the golden runner's own kernel
# asm/hwcap.h of arm64: feature -> (AT_HWCAP or AT_HWCAP2, bit); those that decide on kernels, or end in SIGILL.
HWCAP = {
    "atomics": (16, 8),
    "fphp": (16, 9),
    "asimdhp": (16, 10),
    "asimdrdm": (16, 12),
    "asimddp": (16, 20),
    "sve": (16, 22),
    "asimdfhm": (16, 23),
    "sve2": (26, 1),
    "i8mm": (26, 13),
    "bf16": (26, 14),
    "sme": (26, 23),
}
AUXILIARY = """
#include <stdio.h>
#include <sys/auxv.h>
int main() { printf("%lu %lu\\n", getauxval(16), getauxval(26)); }
"""


def running(text):
    """Ids of processes that name ``text`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_profiles_are_those_that_the_docs_name():
    assert set(profiles.names()) == {"cortex-a53", "cortex-a72", "cortex-a76", "cortex-a710", "i8mm"}
    assert "asimddp" not in profiles.load("cortex-a53").features
    assert "atomics" not in profiles.load("cortex-a72").features
    assert {"asimddp", "atomics"} <= set(profiles.load("cortex-a76").features)
    assert {"i8mm", "asimddp"} <= set(profiles.load("cortex-a710").features) & set(profiles.load("i8mm").features)
    assert make_device("arm64-user").spec == "arm64-user:cortex-a76"


def test_unknown_profile_names_the_nearest():
    with pytest.raises(UnsupportedError, match="did you mean 'cortex-a76'"):
        make_device("arm64-user:cortex-a75x6")


def test_plain_max_is_refused_with_the_reason():
    with pytest.raises(UnsupportedError, match="SME"):
        make_device("arm64-user:max")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('description = "d"\nqemu_cpu = "x"\n', UsageError, "cpuinfo"),
        ('description = "d"\nqemu_cpu = "x"\ncpuinfo = "processor : 0"\n', UsageError, "Features"),
        ('description = "d"\nqemu-cpu = "x"\ncpuinfo = "Features : fp"\n', UnsupportedError, "qemu_cpu"),
        ("description = \n", UsageError, "TOML"),
    ],
)
def test_a_wrong_profile_file_is_said(tmp_path, text, error, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(error, match=words) as caught:
        make_device(f"arm64-user:{path}")
    assert "devices" in caught.value.hint


def test_a_file_that_is_not_there():
    with pytest.raises(UsageError, match="no profile at"):
        make_device("arm64-user:./nothing.toml")


@pytest.mark.parametrize("profile", ["cortex-a53", "cortex-a72"])
def test_litert_is_refused_without_atomics_and_executorch_is_not(profile):
    device = make_device(f"arm64-user:{profile}")
    with pytest.raises(UnsupportedError, match="LSE atomics") as caught:
        device.refuse("litert", "0.18.1")
    assert caught.value.exit_code == 4
    device.refuse("executorch", "1.5.1")
    make_device("arm64-user:cortex-a76").refuse("litert", "0.18.1")


def test_needs_name_the_command(monkeypatch):
    monkeypatch.setattr("gemcut.devices.arm64.device.emulator", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    for runtime, packages in (
        ("executorch", {"qemu-user-static", "g++-aarch64-linux-gnu"}),
        ("litert", {"qemu-user-static"}),
    ):
        found = make_device("arm64-user").needs(runtime)
        assert packages <= {need.package for need in found}
        assert all(need.command for need in found)


def test_a_cpu_that_this_qemu_lacks(ready, tmp_path, silent):
    ready("arm64-user", "executorch")
    path = tmp_path / "mine.toml"
    path.write_text('description = "d"\nqemu_cpu = "cortex-z9"\noldest_qemu = "99.0"\ncpuinfo = "Features : fp"\n')
    with pytest.raises(LackingError, match=r"99\.0 or later that knows cortex-z9") as caught:
        make_device(f"arm64-user:{path}").prepare("executorch", tmp_path, silent)
    assert "apt-get install" in caught.value.hint
    assert os.listdir(tmp_path) == ["mine.toml"]


@pytest.fixture(scope="module")
def auxiliary(ready, tmp_path_factory):
    """A program for arm64 that prints AT_HWCAP and AT_HWCAP2."""
    ready("arm64-user", "executorch")
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    assert compiler
    folder = tmp_path_factory.mktemp("auxiliary")
    (folder / "a.c").write_text(AUXILIARY)
    subprocess.run([compiler, "-static", "-o", folder / "a", folder / "a.c"], check=True)
    return folder / "a"


@pytest.mark.parametrize("name", profiles.names())
def test_cpuinfo_claims_no_more_than_qemu_has(name, auxiliary):
    profile, qemu = profiles.load(name), profiles.emulator()
    assert qemu
    if not profiles.knows(qemu, profile.qemu_cpu):
        pytest.skip(f"QEMU {profiles.qemu_version(qemu)} has no {name}: it is there since {profile.oldest_qemu}")
    said = subprocess.run([qemu, "-cpu", profile.qemu_cpu, auxiliary], capture_output=True, text=True, check=True)
    words = dict(zip((16, 26), map(int, said.stdout.split()), strict=True))
    has = {feature for feature, (word, bit) in HWCAP.items() if words[word] >> bit & 1}
    claimed = set(profile.features) & set(HWCAP)
    assert claimed <= has
    assert "sme" not in has
    if not profile.oldest_qemu:
        assert claimed == has


def test_the_guests_package_needs_python_and_numpy_alone(tmp_path):
    runner = PLUGIN.golden_runner
    guest_package.write_package((runner.module, *runner.late), tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {runner.module} as g; "
        f"import {', '.join(runner.late)}; assert g.__file__.startswith({str(tmp_path)!r}); "
        "print([m for m in ('torch', 'pydantic', 'transformers', 'executorch', 'litert_lm') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said.stdout == "[]\n", said.stderr


@pytest.mark.parametrize("profile", ["cortex-a53", "cortex-a76"])
def test_executorch_proves_on(profile, ready, subject_of_bundle, few, sample_int4, silent, tmp_path):
    spec = f"arm64-user:{profile}"
    ready(spec, "executorch")
    verdict = prove_on(few(subject_of_bundle(sample_int4.path), FEW["executorch"]), spec, tmp_path, silent)
    assert verdict.passed, verdict.failures
    assert verdict.conformance
    assert len(verdict.conformance.differences) == FEW["executorch"]
    assert verdict.facts
    assert verdict.facts.emulated
    assert set(verdict.facts.features) == set(profiles.load(profile).features)  # the guest sees ours, not the host's
    assert "XnnpackBackend" in verdict.facts.backends
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("profile", ["cortex-a76", "i8mm"])
def test_litert_proves_on(profile, ready, subject_of_bundle, few, sample_litert, silent, tmp_path):
    spec = f"arm64-user:{profile}"
    ready(spec, "litert")
    verdict = prove_on(few(subject_of_bundle(sample_litert.path), FEW["litert"]), spec, tmp_path, silent)
    assert verdict.passed, verdict.failures
    assert verdict.conformance
    assert verdict.facts
    assert verdict.facts.runtimes["litert-lm-api"]
    assert set(verdict.facts.features) == set(profiles.load(profile).features)
    assert [(check.name, check.applies) for check in verdict.checks] == [("engine_tokens", FEW["litert"])]
    assert verdict.peak_memory > 1 << 20
    assert not list(tmp_path.iterdir())


def test_a_damaged_program_is_a_verdict(ready, subject_of_bundle, few, sample_litert, silent, tmp_path, monkeypatch):
    ready("arm64-user", "litert")
    broken = tmp_path / "model.tflite"
    broken.write_bytes(b"TFL3" * 1000)
    inspector = "gemcut.runtimes.litert.inspector.LiteRTInspector.golden_program"
    monkeypatch.setattr(inspector, lambda self, bundle, work: Artifacts.single(broken))
    verdict = prove_on(few(subject_of_bundle(sample_litert.path), 1), "arm64-user", tmp_path, silent)
    assert not verdict.passed
    assert verdict.conformance is None
    assert "arm64-user:cortex-a76" in verdict.refused


def test_wrong_kernels_are_a_real_difference(ready, subject_of_bundle, few, sample_int4, silent, tmp_path, monkeypatch):
    """An arm64 device whose attention scales its scores wrongly: everything runs, and it is caught."""
    ready("arm64-user", "executorch")
    right = build.KERNELS.read_text()
    assert right.count(SCALED) == 1
    (tmp_path / "kernels.cpp").write_text(right.replace(SCALED, SCALED + " * 0.25f"))
    monkeypatch.setattr(build, "KERNELS", tmp_path / "kernels.cpp")
    work = tmp_path / "work"
    work.mkdir()
    verdict = prove_on(few(subject_of_bundle(sample_int4.path), 2), "arm64-user", work, silent)
    assert verdict.conformance, verdict.refused
    assert any("nats, tolerance" in failure for failure in verdict.failures)
    failed = DeviceFailed(verdict, ())
    assert "arm64-user:cortex-a76" in failed.message
    assert failed.exit_code == 6


def test_a_run_that_takes_too_long_leaves_nothing(ready, silent, tmp_path):
    ready("arm64-user", "litert")
    device = make_device("arm64-user", Options(seconds=3))
    try:
        device.prepare("litert", tmp_path, silent)
        python = device.runner("litert")[: -len((PLUGIN.golden_runner.module, "--processes", "1")) - 1]
        place = str(next(tmp_path.iterdir()))
        code = "import os, time; os.fork(); time.sleep(300)"
        with pytest.raises(ConformanceError, match="took more than"):
            device.run((*python, "-c", code), device.seconds)
        assert not running(place)
    finally:
        device.close()
    assert not list(tmp_path.iterdir())
