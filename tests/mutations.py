"""Takes gates and refusals out, one by one, and shows that the tests notice: ``make mutations``.

Each is taken out of a copy of the sources, and the tests that should notice run on that copy. One that no test notices
is a gate that could break in silence; the script then ends with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ("exporter", "targets", "tests", "docs", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Mutation:
    """One gate or refusal, and its removal.

    Attributes:
        what: What is no longer held back.
        file: The module, from ``exporter/``.
        text: What stands there, once.
        instead: What the mutant has there.
        tests: The tests to run, from ``tests/``; one of them must fail.
    """

    what: str
    file: str
    text: str
    instead: str
    tests: str


MUTATIONS = (
    Mutation(
        "a bundle that fails its gate is not published",
        "pipeline/gates.py",
        'if proof.verdict.passed or request.gate != "enforce":',
        "if True:",
        "unit/pipeline/test_pipeline_export.py",
    ),
    Mutation(
        "a bundle over a budget is not published",
        "pipeline/gates.py",
        "if budgets.any_over(evidence):",
        "if False:",
        "unit/pipeline/test_pipeline_export.py",
    ),
    Mutation(
        "a figure past a grade's limit gets a worse word",
        "words/grades.py",
        "return value >= limit if name in AT_LEAST else value <= limit",
        "return True",
        "unit/words/test_grades.py",
    ),
    Mutation(
        "a file of a bundle whose hash differs is refused",
        "bundle/reader.py",
        "if digest.hexdigest() != record.sha256:",
        "if False:",
        "unit/bundle/test_bundle_open.py",
    ),
    Mutation(
        "log-probabilities outside the tolerance fail a validation",
        "prove/conformance.py",
        "if not worst.max_logprob_diff <= tolerance.logprob:",
        "if False:",
        "unit/prove/test_prove_conformance.py",
    ),
    Mutation(
        "a behaviour check below its limit fails a proof",
        "prove/behaviour.py",
        "return self.rate is None or self.rate >= self.limit - 1e-9",
        "return True",
        "unit/prove/test_prove_behaviour.py",
    ),
    Mutation(
        "a checkpoint without one of its tensors is refused",
        "checkpoint/weights.py",
        "if stored not in tensors:",
        "if False:",
        "unit/checkpoint/test_checkpoint_weights.py",
    ),
    Mutation(
        "a tensor of another shape than the configuration's is refused",
        "checkpoint/weights.py",
        "if tensors.shape(stored) != expected[name]:",
        "if False:",
        "unit/checkpoint/test_checkpoint_weights.py",
    ),
    Mutation(
        "an option of a runtime that isn't asked for is refused",
        "pipeline/plan.py",
        "if owner.name not in names:",
        "if False:",
        "unit/pipeline/test_pipeline_export.py",
    ),
    Mutation(
        "an export that memory doesn't suffice for is refused before it begins",
        "estimate/fit.py",
        "if room.lacks_memory:",
        "if False:",
        "integration/estimate/test_plan_refusal.py",
    ),
    Mutation(
        "a checkpoint in a quantized format is refused",
        "checkpoint/formats.py",
        'raise _quantized(path, row["name"], folder, source)',
        "pass",
        "unit/checkpoint/test_checkpoint_formats.py",
    ),
    Mutation(
        "an unknown key of a recipe is refused",
        "config/toml_file.py",
        'extra="forbid"',
        'extra="ignore"',
        "unit/quantize/test_recipes.py",
    ),
    Mutation(
        "what a run that was killed kept is used only if it is whole",
        "pipeline/journal/journal.py",
        "if path.is_symlink() or path.stat().st_size != record.size or hash_file(path, progress) != record:",
        "if False:",
        "unit/pipeline/test_resume_kept.py",
    ),
)


def main() -> int:
    """Run every mutation; the exit code is 1 if one was not noticed."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="gemcut-mutations-") as name:
        copy = _copy(Path(name))
        for tests in sorted({mutation.tests for mutation in MUTATIONS}):
            if failed := _failed(tests, copy):
                sys.exit(f"{failed[0]} fails before anything is taken out")
        for number, mutation in enumerate(MUTATIONS, 1):
            begun = time.monotonic()
            failed = _noticed(mutation, copy)
            missed += not failed
            seconds = time.monotonic() - begun
            verdict = f"noticed by {failed[0]}" if failed else f"NOT NOTICED by {mutation.tests}"
            print(f"{number:2} of {len(MUTATIONS)}, {seconds:.0f} s: without '{mutation.what}': {verdict}", flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} noticed")
    return 1 if missed else 0


def _copy(folder: Path) -> Path:
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "bundles")
            shutil.copytree(source, folder / name, ignore=left_out)
        else:
            shutil.copyfile(source, folder / name)
    # The package is in exporter/ and is imported as gemcut; targets/ is one of its packages.
    (folder / "gemcut").symlink_to("exporter")
    shutil.copytree(folder / "targets", folder / "exporter" / "targets")
    return folder


def _noticed(mutation: Mutation, copy: Path) -> list[str]:
    """The tests that failed on the mutant; the copy is as it was afterwards."""
    path = copy / "exporter" / mutation.file
    before = path.read_text(encoding="utf-8")
    if before.count(mutation.text) != 1:
        sys.exit(f"{mutation.file} doesn't hold this once: {mutation.text}")
    path.write_text(before.replace(mutation.text, mutation.instead), encoding="utf-8")
    try:
        return _failed(mutation.tests, copy)
    finally:
        path.write_text(before, encoding="utf-8")


def _failed(tests: str, copy: Path) -> list[str]:
    """The first test that fails on the copy as it is, if one does."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{tests}"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "GEMCUT_TEST_STORE": str(copy / "store")}
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    failed = [line.split(" ", 2)[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode not in (0, 1) or bool(done.returncode) != bool(failed):
        sys.exit(f"tests/{tests} could not run:\n{done.stdout}{done.stderr}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
