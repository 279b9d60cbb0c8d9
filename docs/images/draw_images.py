"""Make the README's pictures: an export in a terminal, and the report of a bundle in a browser.

Both are real. The terminal is what ``gemcut export`` of the packaged sample writes; the report is what ``gemcut
validate --html`` writes, as headless Chromium shows it::

    .venv/bin/python docs/images/draw_images.py

The first needs gemcut[executorch]; the second gemcut[report] and chromium as well.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

HERE = Path(__file__).parent
COMMAND = ["export", "--target", "android-arm64", "--fresh"]
WIDTH = 120
SCREEN = (1280, 960)
# The terminal's picture must not load a font from elsewhere.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def run(words: list[str], folder: Path) -> str:
    """What a command writes, stages and results as they come."""
    done = subprocess.run(
        [sys.executable, "-m", "gemcut.cli", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def shown(text: str) -> str:
    """What a user has on the screen at the end: stages once, without counts on the way."""
    lines = [line.rstrip() for line in text.splitlines() if not re.search(r": \d+%, ", line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def draw_terminal(text: str, out: Path) -> None:
    """Draw a terminal that shows a text."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(Text(f"$ gemcut {' '.join(COMMAND[:3])}", style="bold"))
    console.print(Text(text))
    out.write_text(console.export_svg(title="gemcut export", code_format=FORMAT, unique_id="gemcut"), encoding="utf-8")


def draw_report(page: Path, out: Path) -> None:
    """Draw the first screen of a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("the report's picture needs chromium; install it from your system's packages")
    size = f"--window-size={SCREEN[0]},{SCREEN[1]}"
    words = [browser, "--headless=new", "--no-sandbox", "--hide-scrollbars", size, f"--screenshot={out}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True)


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_terminal(shown(run(COMMAND, folder)), HERE / "export.svg")
        bundle = "bundles/sample-android-arm64-executorch"
        run(["validate", bundle, "--html", "report.html"], folder)
        draw_report(folder / "report.html", HERE / "report.png")


if __name__ == "__main__":
    main()
