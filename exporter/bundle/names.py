"""Names of a bundle's own files."""

from __future__ import annotations

MANIFEST = "manifest.json"
# Of a bundle in one file.
SUFFIX = ".gemcut"
