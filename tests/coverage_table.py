"""Runs pytest, and prints which share of ``exporter/`` ran, by package, and how many interpreters were started.

    python -m tests.coverage_table [WORDS]

Every process counts that the tests start or fork, but for those in another virtual environment and those that are
killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from slipcover import Slipcover

from tests.support import measuring
from tests.support.measuring import FOLDER, PACKAGE, STARTED

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run pytest with the words of the command line, print the table, and return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="gemcut-coverage-") as folder, _in_every_interpreter():
        environment = {**os.environ, FOLDER: folder}
        code = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT, env=environment).returncode
        ran: dict[str, set[int]] = defaultdict(set)
        for path in Path(folder).glob("*.json"):
            for name, lines in json.loads(path.read_text()).items():
                ran[name].update(lines)
        started = len(list(Path(folder).glob(f"*{STARTED}")))
    for line in table(ran):
        print(line)
    print(f"{started} interpreters were started")
    return code


@contextmanager
def _in_every_interpreter() -> Iterator[None]:
    """While it holds, an interpreter of this environment measures from its start if the variable is set."""
    folder = Path(sysconfig.get_path("purelib"))
    for left in folder.glob("gemcut-tests-coverage-*.pth"):  # by a run that was killed: each would measure once more
        if not psutil.pid_exists(int(left.stem.rpartition("-")[2])):
            left.unlink(missing_ok=True)
    path = folder / f"gemcut-tests-coverage-{os.getpid()}.pth"
    file = measuring.__file__
    path.write_text(f"import os, runpy; os.environ.get({FOLDER!r}) and runpy.run_path({file!r})\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def table(ran: dict[str, set[int]]) -> Iterator[str]:
    """Yield a line for each package, and one for all."""
    statements: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, each in Slipcover(source=[str(PACKAGE)]).get_coverage()["files"].items():
        path = (Path.cwd() / name).resolve()
        lines = {*each["executed_lines"], *each["missing_lines"]}
        parts = path.relative_to(PACKAGE).parts
        for row in (parts[0] if len(parts) > 1 else "(loose modules)", "all"):
            statements[row][0] += len(lines)
            statements[row][1] += len(lines & ran.get(str(path), set()))
    yield f"{'package':20} {'lines':>7} {'run':>7}"
    for row, (count, reached) in sorted(statements.items(), key=lambda item: (item[0] == "all", item[0])):
        yield f"{row:20} {count:7} {reached / count if count else 1:7.1%}"


if __name__ == "__main__":
    sys.exit(main())
