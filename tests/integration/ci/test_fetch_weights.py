"""docs/guides/ci/fetch_weights.py, which fetches a checkpoint through fsspec, as ci.md calls it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from gemcut.cli import main
from gemcut.sample import sample_path

SCRIPT = Path(__file__).parents[3] / "docs" / "guides" / "ci" / "fetch_weights.py"


def fetch(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, url, folder], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, packed, which fsspec reads as it reads any store: by listing, and file by file."""
    path = tmp_path_factory.mktemp("store") / "models.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sample_path().rglob("*"):
            packed.write(file, Path("assistant") / "v7" / file.relative_to(sample_path()))
    return path


def test_a_fetched_folder_is_the_checkpoint(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models" / "assistant"
    done = fetch(f"zip://assistant/v7::file://{archive}", folder)
    assert done.returncode == 0, done.stderr
    for file in sample_path().rglob("*"):
        if file.is_file():
            assert (folder / file.relative_to(sample_path())).read_bytes() == file.read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == ["assistant"], "nothing is left beside it"
    assert main(["plan", str(folder), "--json"]) == 0
    assert '"assistant"' in capsys.readouterr().out
    again = fetch("zip://assistant/v7::file:///nowhere.zip", folder)
    assert (again.returncode, again.stdout) == (0, f"{folder} is there already.\n")


def test_a_wrong_url_leaves_no_folder(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "assistant"
    done = fetch(f"zip://assistant/v8::file://{archive}", folder)
    assert done.returncode != 0
    assert "There is no config.json" in done.stderr
    assert not folder.exists()
