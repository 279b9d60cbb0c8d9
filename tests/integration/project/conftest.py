"""A project with a real bundle in it, made by no export of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.project.config import read_project
from gemcut.project.entries import BundleEntry
from gemcut.project.hash_cache import Hashes
from gemcut.project.inputs import inputs_of, locked_bundle
from gemcut.project.lock import Lock, maker, read_lock, write_lock
from gemcut.project.status import why_outdated
from gemcut.sample import sample_path

ROOT = Path(__file__).resolve().parents[3]
TEXT = """[bundles.phone]
model = "model"
target = "android-arm64"
recipe = "mine.toml"
"""


@dataclass
class App:
    """An app's repository: the sample as a directory of its own, a recipe, a bundle, and the lock that goes with it."""

    root: Path

    @property
    def entry(self) -> BundleEntry:
        return read_project(self.root).entries[0]

    @property
    def lock(self) -> Lock:
        found = read_lock(self.root)
        assert found is not None
        return found

    @property
    def bundle(self) -> Path:
        return self.root / "bundles/phone"

    def write_lock(self, **changes: Any) -> None:
        """The lock as an export of the present inputs to the present bundle writes it, but for ``changes``."""
        project, hashes = read_project(self.root), Hashes()
        with open_bundle(self.bundle) as bundle:
            found = inputs_of(self.entry, {}, hashes)
            made = locked_bundle(
                self.entry, found, bundle.manifest, self.bundle, self.root, hashes, maker(bundle.manifest)
            )
        write_lock(self.root, project, "phone", {"executorch": made.model_copy(update=changes)})

    def reasons(self) -> tuple[str, ...]:
        return why_outdated(self.entry, read_lock(self.root), self.root)

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def app(sample_int4: Any, tmp_path: Path) -> App:
    shutil.copytree(sample_int4.path, tmp_path / "bundles/phone")
    shutil.copytree(sample_path(), tmp_path / "model")
    shutil.copyfile(ROOT / "exporter/quantize/recipes/int4.toml", tmp_path / "mine.toml")
    (tmp_path / "gemcut.toml").write_text(TEXT)
    made = App(tmp_path)
    made.write_lock()
    return made
