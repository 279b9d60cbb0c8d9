"""Variants of real bundles: copied, changed in one place and packed again, so that every hash holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.bundle.staging import pack

from tests.support.diff_variants import Variant


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    def make(
        source: Path,
        name: str = "variant",
        files: Mapping[str, bytes | None] | None = None,
        manifest: Mapping[str, Any] | None = None,
        format: Literal["dir", "zip"] = "dir",
    ) -> Path:
        """files: content by name, None for one to leave out. manifest: entries to replace."""
        with open_bundle(source) as bundle:
            content = {known: bundle.read(known) for known in bundle.manifest.files}
            content |= dict(files or {})
            kept = {known: data for known, data in content.items() if data is not None}
            return pack(kept, bundle.manifest.model_copy(update=dict(manifest or {})), tmp_path / name, format)

    return make
