"""The demo app without its screen, compiled against the real ExecuTorch classes and run with the real library."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemcut.bundle.manifest import FileRecord, manifest_bytes, side_bytes
from gemcut.bundle.reader import open_bundle
from gemcut.devices.android import java
from gemcut.util import processes

DEMO = Path(__file__).parents[2] / "android_demo"
APP = DEMO / "app/src/main"
DRIVE = Path(__file__).parent / "android_app_drive"
SCREENLESS = ("bundle", "engine", "session")
SECONDS = 1200.0  # of all steps of a script, on a machine that others keep busy
sys.path.insert(0, str(DEMO / "smoke"))  # build_apk and classfile

Step = dict[str, Any]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewritten(bundle: Path, out: Path, changes: Mapping[str, bytes], **manifest: Any) -> Path:
    """A copy of a bundle with other files or fields, its manifest and hashes made to agree with them."""
    shutil.copytree(bundle, out)
    opened = open_bundle(out)
    files = dict(opened.manifest.files)
    for name, data in changes.items():
        (out / name).write_bytes(data)
        files[name] = FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    data = manifest_bytes(opened.manifest.model_copy(update={"files": files, **manifest}))
    (out / "manifest.json").write_bytes(data)
    (out / "manifest.sha256").write_bytes(side_bytes(data))
    return out


def with_prompt(bundle: Path, out: Path) -> Path:
    """The bundle itself where it has a prompt.json, else a copy with one."""
    from gemcut.prompt.codec import codec_of
    from gemcut.prompt.compiler import compile_codec
    from gemcut.prompt.format import PROMPT_FILE, prompt_text

    opened = open_bundle(bundle)
    if (bundle / PROMPT_FILE).is_file():
        return bundle
    text = prompt_text(compile_codec(codec_of(opened), opened.manifest.stop_ids))
    return rewritten(bundle, out, {PROMPT_FILE: text.encode()})


def zipped(bundle: Path, out: Path) -> Path:
    """The bundle as one .gemcut file."""
    from gemcut.bundle.archive import write_archive

    paths = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}
    members = {name: (path.stat().st_size, lambda path=path: path.open("rb")) for name, path in paths.items()}
    with out.open("w+b") as sink:
        write_archive(sink, members)
    return out


def compiled(sources: Iterable[Path], path: Iterable[Path], out: Path) -> Path:
    """Java 8 class files, as an Android build makes them; deprecations are no errors: releases differ in theirs."""
    warnings = ("-Xlint:all,-options,-classfile,-deprecation", "-Werror")
    flags = ("-J-Xmx512m", "--release", "8", *warnings, "-encoding", "UTF-8")
    command = ["javac", *flags, "-cp", ":".join(map(str, path)), "-d", str(out), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@dataclass(frozen=True)
class Desk:
    """The app on a desk. home: what ``java.build`` made of one library. classes: ours. root: for GEMCUT_ROOT."""

    home: Path
    classes: Path
    gson: Path
    root: Path

    def run(self, work: Path, steps: Sequence[Step], code: int = 0) -> list[dict[str, Any]]:
        """Runs a script's steps in one process; returns what each gave."""
        work.mkdir(parents=True, exist_ok=True)
        (work / "script.json").write_text(json.dumps(list(steps)), encoding="utf-8")
        jdk = java.find_jdk()
        assert jdk
        path = ":".join(map(str, (self.classes, self.gson, self.home / "classes", self.home / "classes.jar")))
        command = (str(self.home / "launcher"), str(jdk.libjvm), path, str(self.home), "Drive")
        env = {"GEMCUT_ROOT": str(self.root)}
        words = (str(work / "store"), "script.json", "results.json")
        done = processes.run((*command, *words), SECONDS, work, env)
        assert done.code == code, done.stderr[-3000:]
        results = json.loads((work / "results.json").read_text(encoding="utf-8"))
        assert len(results) == len(steps)
        return results
