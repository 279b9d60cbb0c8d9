"""Outcomes of the sample's own bundle, as it was exported and as a regression would leave it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gemcut.report.outcome import Outcome

from tests.support.report_samples import HOSTILE, error, outcome, read_evidence


@pytest.fixture(scope="session")
def outcomes(sample_int4: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, ...]:
    """A failed device and budgets; a gate not kept, with a hostile reply; an error; nothing to do."""
    # Outside of the repository, as reports say where in it a bundle is.
    path = Path(shutil.copytree(sample_int4.path, tmp_path_factory.mktemp("reported") / "bundle"))
    return (
        outcome(read_evidence(path)),
        outcome(read_evidence(path, 1.0, HOSTILE), "chat-broken"),
        error(),
        Outcome("export", "old", "up to date", notes=("nothing moved",)),
    )


@pytest.fixture(scope="session")
def page(outcomes: tuple[Outcome, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HTML report of all of them."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'gemcut[report]'")
    from gemcut.report.formats.html import html_report

    path = tmp_path_factory.mktemp("html") / "report <1>.html"
    path.write_bytes(html_report(outcomes).encode())
    return path


@pytest.fixture(scope="session")
def chromium(debian: Callable[..., None]) -> Iterator[Any]:
    """A headless Chromium."""
    from tests.support import browser
    from tests.support.browser import Browser

    if browser.chromium() is None:
        debian(browser.PACKAGE)
    with Browser() as found:
        yield found


@pytest.fixture
def browser(chromium: Any) -> Any:
    """The same with nothing emulated, and its page empty."""
    chromium.media("light")
    chromium.call("Emulation.clearDeviceMetricsOverride")
    return chromium
