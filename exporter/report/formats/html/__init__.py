"""Outcomes as one HTML page that opens offline: no file beside it, no network, nothing that runs but its own script.

The page's content security policy allows two scripts by their hashes, plotly's and its own, and no request at all, so
that no text from a model can run or load anything even if escaping failed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import LackingError
from ....util.packages import install_command
from ..base import ReportFormat

if TYPE_CHECKING:
    from ...outcome import Outcome

_FOLDER = Path(__file__).parent


def html_report(outcomes: Sequence[Outcome]) -> str:
    """Return the page. The same outcomes, and the same version of plotly, give the same text.

    Raises:
        ModuleNotFoundError: If plotly isn't installed.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from ... import wording as shown
    from .view import sections

    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    plotly = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")  # as a browser reads it, before it hashes
    found = sections(outcomes)
    drawn = any(plot for section in found for plot in section.plots.values())
    scripts = (plotly, script) if drawn else ()
    allowed = " ".join(f"'sha256-{_sha256(text)}'" for text in scripts) or "'none'"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    return environment.get_template("page.html.jinja").render(
        title=shown.heading(outcomes),
        policy=f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),
        scripts=[Markup(text) for text in scripts],
        sections=found,
    )


def _visible(value: Any) -> Any:
    """Return control characters as their pictures (U+2400 and on): a browser silently drops or changes some."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(chr(0x2400 + ord(c)) if c < " " and c not in "\t\n" else c for c in value)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class Html(ReportFormat):
    """See ``ReportFormat``."""

    name = "html"
    suffix = ".html"
    help = "one HTML page with plots and texts side by side, which opens offline."

    def require(self) -> None:
        """See ``ReportFormat``: plotly draws."""
        from importlib.util import find_spec

        if find_spec("plotly") is None:
            raise LackingError(
                "--html needs the package 'plotly', which isn't installed",
                hint=f"Install it with: {install_command('report')}",
            )

    def render(self, outcomes: Sequence[Outcome], environ: Mapping[str, str]) -> bytes:
        """See ``ReportFormat``."""
        return html_report(outcomes).encode("utf-8", "replace")


FORMAT = Html()
