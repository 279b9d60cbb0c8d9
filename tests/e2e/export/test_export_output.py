"""Where a bundle may go: what is there and isn't ours stays as it is, ``--force`` or not."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]
FORCE = pytest.mark.parametrize("force", [(), ("--force",)], ids=["plain", "forced"])


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in files}


def export(here: Here, tiny: Path, out: Path, *flags: str) -> Any:
    return here("export", tiny, "--target", "linux-x86_64", "-o", out, *flags)


@FORCE
def test_a_folder_of_someone_elses_is_left_alone(
    force: tuple[str, ...], tiny: Path, tmp_path: Path, here: Here
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "manifest.json").write_text('{"name": "a web app"}')
    before = contents(out)
    said = export(here, tiny, out, *force)
    assert said.code == 2
    assert f"{out} exists and is not a gemcut bundle" in said.err
    assert "-o" in said.err
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@FORCE
@pytest.mark.parametrize("form", ["dir", "zip"])
def test_a_file_of_someone_elses_is_left_alone(
    form: str, force: tuple[str, ...], tiny: Path, tmp_path: Path, here: Here
) -> None:
    out = tmp_path / "thesis.gemcut"
    out.write_text("years of work")
    said = export(here, tiny, out, "--format", form, *force)
    assert said.code == 2
    assert "is not a gemcut bundle" in said.err
    assert out.read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.gemcut"]


def test_a_checkpoint_is_no_place_for_its_own_bundle(fresh: Path, here: Here) -> None:
    before = contents(fresh)
    assert export(here, fresh, fresh, "--force").code == 2
    assert contents(fresh) == before


def test_a_bundle_is_replaced_by_force_alone(unproven: Any, tiny: Path, tmp_path: Path, here: Here) -> None:
    out = tmp_path / "bundle.gemcut"
    shutil.copyfile(unproven.path, out)
    said = export(here, tiny, out, "--format", "zip")
    assert said.code == 2
    assert "already holds a bundle" in said.err
    assert "--force" in said.err
    assert out.read_bytes() == unproven.path.read_bytes()


def test_a_bundle_with_a_strangers_file_in_it_is_not_replaced(
    sample_int4: Any, tiny: Path, tmp_path: Path, here: Here
) -> None:
    out = Path(shutil.copytree(sample_int4.path, tmp_path / "bundle"))
    (out / "notes.txt").write_text("mine")
    said = export(here, tiny, out, "--force")
    assert said.code == 2
    assert "notes.txt" in said.err
    assert (out / "notes.txt").read_text() == "mine"


def test_a_file_where_a_folder_is_needed(tiny: Path, tmp_path: Path, here: Here) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = export(here, tiny, tmp_path / "file" / "bundle")
    assert said.code == 2
    assert "is a file" in said.err
    assert (tmp_path / "file").read_text() == "not a folder"


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nothing can be written into the folder, not by root either."""
    root = os.geteuid() == 0
    if root and subprocess.run(["chattr", "+i", str(folder)], capture_output=True).returncode:
        pytest.skip("this filesystem has no attribute that keeps root from writing")
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR) if not root else None
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True) if root else folder.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_written_to(tiny: Path, tmp_path: Path, here: Here) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    with closed(folder):
        said = export(here, tiny, folder / "bundle")
        assert said.code == 2
        assert f"{folder} can't be written to" in said.err
        assert not list(folder.iterdir())
