"""Fetching: what is kept is what was pinned, and what is damaged is fetched again."""

from __future__ import annotations

import json
import shutil

import pytest
from gemcut.errors import LackingError
from gemcut.util import fetching

# Pure Python, 7 kB; and a package of a few files.
WHEEL = ("iniconfig", "2.0.0", "any")
PACKAGE = ("ms", "2.1.3")


class Notes:
    def __init__(self):
        self.said = []

    def stage(self, name):
        pass

    def update(self, done, total, what=""):
        pass

    def note(self, text):
        self.said.append(text)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and nothing remembered of another's."""
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    fetching._is_whole.cache_clear()
    yield tmp_path / "cache"
    fetching._is_whole.cache_clear()


def fetch(asked, notes=None):
    """Fetches, or skips where no registry is reached."""
    call = fetching.wheel if len(asked) == 3 else fetching.npm
    if call is fetching.npm and shutil.which("npm") is None:
        pytest.skip(f"there is no npm: {fetching.apt_command(('npm',))}")
    try:
        return call(*asked, notes)
    except LackingError as error:
        if "pinned" in error.message or "refuses" in error.message:
            raise
        pytest.skip(f"no registry is reached: {error.message}; {error.hint}")


@pytest.mark.parametrize(("asked", "file"), [(WHEEL, "iniconfig/__init__.py"), (PACKAGE, "package.json")])
def test_fetched_once_and_kept(asked, file, cache):
    notes = Notes()
    folder = fetch(asked, notes)
    assert (folder / file).is_file()
    assert folder.is_relative_to(cache / "devices")
    assert len(fetching.archive_sha256(folder)) == 64
    assert len(notes.said) == 1
    assert asked[0] in notes.said[0]
    again = fetch(asked, notes)
    assert again == folder
    assert len(notes.said) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing temporary is left


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "unlisted"])
def test_a_damaged_folder_is_fetched_again(damage):
    folder = fetch(WHEEL)
    file = folder / "iniconfig/__init__.py"
    whole = file.read_bytes()
    if damage == "changed":
        file.write_bytes(whole.replace(b"i", b"j"))
    elif damage == "missing":
        file.unlink()
    elif damage == "added":
        (folder / "iniconfig/more.py").write_text("x = 1\n")
    else:
        (folder / ".contents.json").write_text("{")
    fetching._is_whole.cache_clear()  # as a new process would
    notes = Notes()
    assert fetch(WHEEL, notes) == folder
    assert len(notes.said) == 1
    assert file.read_bytes() == whole
    assert not (folder / "iniconfig/more.py").exists()


def test_compiled_python_is_no_damage():
    folder = fetch(WHEEL)
    (folder / "iniconfig/__pycache__").mkdir()
    (folder / "iniconfig/__pycache__/x.pyc").write_bytes(b"x")
    fetching._is_whole.cache_clear()
    notes = Notes()
    fetch(WHEEL, notes)
    assert not notes.said


@pytest.mark.parametrize("asked", [WHEEL, PACKAGE])
def test_another_archive_than_the_pinned_one_is_refused(asked, cache, monkeypatch):
    folder = fetch(asked)
    found = fetching.archive_sha256(folder)
    key = f"wheels/{asked[0]}=={asked[1]}/{asked[2]}" if len(asked) == 3 else f"npm/{asked[0]}@{asked[1]}"
    wrong = "0" * 64
    monkeypatch.setattr(fetching, "pins", lambda: {key: wrong})
    call = fetching.wheel if len(asked) == 3 else fetching.npm
    with pytest.raises(LackingError) as caught:  # what is kept isn't taken either
        call(*asked)
    assert caught.value.exit_code == 8
    assert found in caught.value.message
    assert wrong in caught.value.message
    shutil.rmtree(cache)
    with pytest.raises(LackingError, match="pinned"):
        call(*asked)
    assert not [path for path in (cache / "devices").rglob("*") if path.is_file()]


def test_without_an_index_it_says_what_and_how(monkeypatch, cache):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LackingError) as caught:
        fetching.wheel("gemcut-no-such-wheel", "1.0", "any")
    assert "gemcut-no-such-wheel==1.0" in caught.value.message
    assert "pip download" in caught.value.hint
    assert str(cache) not in caught.value.hint
    assert not list((cache / "devices/wheels").iterdir())


def test_an_older_glibc_will_do():
    tags = fetching._platforms("manylinux_2_28_aarch64")
    assert tags[0] == "manylinux_2_28_aarch64"
    assert tags[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    assert fetching._platforms("any") == ["any"]


def test_every_pin_is_a_sha256():
    assert fetching.pins()
    for key, digest in fetching.pins().items():
        assert key.startswith(("wheels/", "npm/")), key
        assert len(bytes.fromhex(digest)) == 32, key


def test_missing_packages():
    if shutil.which("dpkg-query") is None:
        assert fetching.missing_packages("dpkg") == ("dpkg",)
        return
    assert fetching.missing_packages("dpkg", "gemcut-no-such-package") == ("gemcut-no-such-package",)
    fetching.apt_install(("dpkg",), Notes())  # there is nothing to do, whoever we are


def test_apt_command_is_for_the_user_that_we_are(monkeypatch):
    monkeypatch.setattr(fetching.os, "geteuid", lambda: 1000)
    assert fetching.apt_command(("a", "b")) == "sudo apt-get install -y a b"
    monkeypatch.setattr(fetching.os, "geteuid", lambda: 0)
    assert fetching.apt_command(("a",)) == "apt-get install -y a"


def test_without_root_the_command_is_said(monkeypatch):
    monkeypatch.setattr(fetching, "may_install", lambda: False)
    with pytest.raises(LackingError) as caught:
        fetching.apt_install(("gemcut-no-such-package",), Notes())
    assert "apt-get install -y gemcut-no-such-package" in caught.value.hint


def interrupted(home):
    with fetching.making(home) as place:
        (place / "half").write_text("half")
        raise KeyboardInterrupt


def test_making_leaves_nothing_behind(cache):
    home = fetching.build_home("test", "a", b"b")
    assert home != fetching.build_home("test", "ab")
    with pytest.raises(KeyboardInterrupt):
        interrupted(home)
    assert not list(home.parent.iterdir())
    for text in ("first", "second"):  # as two processes would
        with fetching.making(home) as place:
            (place / "made").mkdir()
            (place / "made/file").write_text(text)
            fetching.replace(place / "made", home)
    assert (home / "file").read_text() == "first"
    assert list(home.parent.iterdir()) == [home]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "file"))
    with pytest.raises(LackingError, match="can't be written"):
        fetching.wheel(*WHEEL)


def test_the_contents_name_every_file():
    folder = fetch(WHEEL)
    noted = json.loads((folder / ".contents.json").read_text())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(noted["files"]) == files - {".contents.json"}


def test_an_unknown_npm_package_is_said_in_npms_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMCUT_CACHE", str(tmp_path / "cache"))
    if shutil.which("npm") is None:
        pytest.skip(f"there is no npm: {fetching.apt_command(('npm',))}")
    with pytest.raises(LackingError, match="no-such-package-of-gemcut@1") as caught:
        fetching.npm("no-such-package-of-gemcut", "1.0.0")
    assert "complete log" not in caught.value.message
    assert "npm pack" in caught.value.hint
    assert not list((tmp_path / "cache").rglob("*.tgz"))
