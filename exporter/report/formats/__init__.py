"""Report formats by name; each is a flag of the commands that find something out."""

from __future__ import annotations

from ...util.registry import Registry
from .base import ReportFormat

FORMATS: Registry[ReportFormat] = Registry(
    "report format",
    "gemcut.report_formats",
    {
        "junit": ".junit:FORMAT",
        "sarif": ".sarif:FORMAT",
        "html": ".html:FORMAT",
        "summary": ".summary:FORMAT",
    },
    __name__,
)
