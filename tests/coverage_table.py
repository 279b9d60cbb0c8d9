"""Prints what the tests covered, by package: ``python -m tests.coverage_table``, after a run under ``coverage run``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "exporter"


def main() -> None:
    """Combine what all processes measured, and print a line for each package and one for all."""
    measured = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    measured.combine(strict=True)
    measured.save()
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted(PACKAGE.rglob("*.py")):
        _, statements, _, missing, _ = measured.analysis2(str(path))
        parts = path.relative_to(PACKAGE).parts
        for name in (parts[0] if len(parts) > 1 else "(modules at the root)", "all"):
            rows[name][0] += len(statements)
            rows[name][1] += len(missing)
    print(f"{'package':24} {'statements':>10} {'run':>6}")
    for name, (statements, missing) in sorted(rows.items(), key=lambda row: (row[0] == "all", row[0])):
        print(f"{name:24} {statements:10} {1 - missing / max(statements, 1):6.1%}")


if __name__ == "__main__":
    main()
