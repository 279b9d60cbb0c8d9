"""Results kept from one export to the next: what comes back is what was kept, or nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gemcut.util import result_cache as cachedir

KIND = "things"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own; the folder isn't there yet."""
    folder = tmp_path / "deeper" / "cache"
    monkeypatch.setenv(cachedir.VARIABLE, str(folder))
    return folder


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """More than one chunk."""
    path = tmp_path / "result"
    path.write_bytes(os.urandom((1 << 20) + 17))
    return path


def test_what_was_kept_comes_back(root: Path, result: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not cachedir.fetch(KIND, "a", out)
    assert not out.exists()
    cachedir.keep(KIND, "a", result)
    assert cachedir.fetch(KIND, "a", out)
    assert out.read_bytes() == result.read_bytes()
    assert not cachedir.fetch(KIND, "b", out)
    assert not cachedir.fetch("others", "a", out)
    assert not out.exists(), "what was there before could pass for the result"
    assert [path.name for path in (root / KIND).iterdir()] == ["a"]


def test_an_empty_result_is_one_too(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    cachedir.keep(KIND, "a", tmp_path / "empty")
    assert cachedir.fetch(KIND, "a", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "longer"])
def test_a_damaged_one_counts_as_none_and_is_replaced(damage: str, root: Path, result: Path, tmp_path: Path) -> None:
    cachedir.keep(KIND, "a", result)
    kept, out = root / KIND / "a", tmp_path / "out"
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    whole = kept.read_bytes()
    kept.write_bytes({"empty": b"", "cut": whole[:-1], "flipped": bytes(data), "longer": whole + b"x"}[damage])
    assert not cachedir.fetch(KIND, "a", out)
    assert not out.exists()
    cachedir.keep(KIND, "a", result)
    assert cachedir.fetch(KIND, "a", out)
    assert out.read_bytes() == result.read_bytes()


def test_the_most_recently_used_are_kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachedir, "KEPT", 3)
    source, out = tmp_path / "source", tmp_path / "out"
    for age, key in enumerate("abc"):
        source.write_text(key)
        cachedir.keep(KIND, key, source)
        os.utime(root / KIND / key, (1000 + age, 1000 + age))
    assert cachedir.fetch(KIND, "a", out)  # used now, so that b is the oldest
    cachedir.keep("others", "z", source)
    source.write_text("d")
    cachedir.keep(KIND, "d", source)
    assert {path.name for path in (root / KIND).iterdir()} == {"a", "c", "d"}
    assert [path.name for path in (root / "others").iterdir()] == ["z"]


def test_a_result_that_cannot_be_kept_is_no_error(root: Path, result: Path, tmp_path: Path) -> None:
    root.parent.mkdir(parents=True)
    root.write_text("a file where the folder should be")
    cachedir.keep(KIND, "a", result)
    assert not cachedir.fetch(KIND, "a", tmp_path / "out")
    assert root.read_text() == "a file where the folder should be"


def test_a_failed_copy_leaves_nothing(root: Path, tmp_path: Path) -> None:
    cachedir.keep(KIND, "a", tmp_path / "missing")
    assert list((root / KIND).iterdir()) == []


def test_a_cache_that_cannot_be_written_is_read_all_the_same(root: Path, result: Path, tmp_path: Path) -> None:
    cachedir.keep(KIND, "a", result)
    folder, out = root / KIND, tmp_path / "out"
    tool = ["chattr"] if os.geteuid() == 0 else None  # root is held off by an attribute alone
    if tool and subprocess.run([*tool, "+i", str(folder / "a")], capture_output=True).returncode:
        pytest.skip("this filesystem has no attribute that keeps root from writing")
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert cachedir.fetch(KIND, "a", out)
        assert out.read_bytes() == result.read_bytes()
        cachedir.keep(KIND, "a", result)
    finally:
        folder.chmod(stat.S_IRWXU)
        if tool:
            subprocess.run([*tool, "-i", str(folder / "a")], check=True)
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_processes_at_once_leave_one_whole_result(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gemcut.util import result_cache\n"
        "for _ in range(40): result_cache.keep('things', 'a', Path(sys.argv[1]))"
    )
    sources = []
    for name in "pq":
        sources.append(tmp_path / name)
        sources[-1].write_bytes(name.encode() * 300_000)
    running = [subprocess.Popen([sys.executable, "-c", code, str(source)]) for source in sources]
    found = set()
    while any(process.poll() is None for process in running):
        if cachedir.fetch(KIND, "a", tmp_path / "out"):
            found.add((tmp_path / "out").read_bytes())
    assert [process.returncode for process in running] == [0, 0]
    assert cachedir.fetch(KIND, "a", tmp_path / "out")
    assert found | {(tmp_path / "out").read_bytes()} <= {source.read_bytes() for source in sources}
    assert [path.name for path in (root / KIND).iterdir()] == ["a"]


def test_a_key_tells_order_and_limits_of_its_parts() -> None:
    keys = [cachedir.key_of(parts) for parts in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"c", b"ab"], [b"abc", b""])]
    assert len(set(keys)) == len(keys)
    assert cachedir.key_of(iter([b"ab", b"c"])) == keys[0]
    assert len(keys[0]) == 64


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(cachedir.VARIABLE, "~/mine")
    assert cachedir.cache_root() == tmp_path / "mine"
    monkeypatch.setenv(cachedir.VARIABLE, "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert tmp_path in cachedir.cache_root().parents
    assert cachedir.cache_root().name == "gemcut"
    assert not cachedir.cache_root().exists()
