"""Which lines of ``exporter/`` run in this process, for ``tests.coverage_table``.

A ``.pth`` file of the virtual environment runs this in every interpreter that starts while that script does. SlipCover
instruments the package's own modules as they are imported and nothing else, so that an export takes no longer;
coverage.py's tracer, before Python 3.12, takes half as long again for every function of torch. Forks go on measuring.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

# The folder that each process writes to what it ran; nothing is measured if it isn't set.
FOLDER = "GEMCUT_TEST_COVERAGE"
PACKAGE = Path(__file__).resolve().parents[2] / "exporter"
# The ending of a file that each interpreter makes as it starts: a fork makes none.
STARTED = ".started"
# SlipCover takes its probes out again after so many hits. It does so in Python, from C that passes over exceptions: a
# Ctrl-C at that moment became a SystemError.
NEVER = 2**31 - 1
_BEGUN = "_gemcut_tests_measuring"


def begin() -> None:
    """Measure from now on, and write what ran when the process ends, by ``os._exit`` too."""
    from slipcover import FileMatcher, ImportManager, Slipcover

    (Path(os.environ[FOLDER]) / f"{uuid.uuid4().hex}{STARTED}").touch()

    here = Path.cwd()  # which SlipCover's names are relative to
    measured = Slipcover(d_miss_threshold=NEVER)
    ImportManager(measured, FileMatcher(sources=[PACKAGE])).__enter__()
    atexit.register(_write, measured, here)
    leave = os._exit

    def write_and_leave(code: int) -> Any:
        try:
            _write(measured, here)
        finally:
            leave(code)

    os._exit = write_and_leave  # type: ignore[assignment]


def _write(measured: Any, here: Path) -> None:
    ran = {str(here / name): each["executed_lines"] for name, each in measured.get_coverage()["files"].items()}
    folder = os.environ.get(FOLDER)
    if ran and folder and Path(folder).is_dir():
        name = f"{os.getpid()}-{uuid.uuid4().hex}"
        partial = Path(folder) / f".{name}"
        partial.write_text(json.dumps(ran))
        partial.rename(Path(folder) / f"{name}.json")


# A virtual environment's .pth files are run twice as Python starts.
if os.environ.get(FOLDER) and not hasattr(sys, _BEGUN):
    setattr(sys, _BEGUN, True)
    begin()
