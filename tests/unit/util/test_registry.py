"""Plugins by name: imported when asked for, the nearest name for an unknown one, one broken plugin breaks itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gemcut.errors import LackingError, UnsupportedError
from gemcut.util import registry
from gemcut.util.registry import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two plugins, which say when they are imported."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(f"PLUGIN = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("plugged", "plugged.one", "plugged.two"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "plugged"


def outsiders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """A distribution with these entry points in the group ``tests.plugs``."""
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tests.plugs]\n{text}\n")
    registry._entry_points.cache_clear()


@pytest.fixture(autouse=True)
def forget() -> object:
    yield
    registry._entry_points.cache_clear()


def make(package: str) -> Registry[str]:
    return Registry("plug", "tests.plugs", {"one": ".one:PLUGIN", "two": ".two:PLUGIN"}, package)


def test_nothing_is_imported_before_it_is_asked_for(package: str) -> None:
    plugs = make(package)
    assert plugs.names() == plugs.packaged == ("one", "two")
    assert "one" in plugs
    assert "plugged.one" not in sys.modules
    assert plugs.get("one") == "one"
    assert "plugged.two" not in sys.modules
    assert list(plugs) == ["one", "two"]


def test_an_unknown_name_gets_the_nearest(package: str) -> None:
    with pytest.raises(UnsupportedError, match="unknown plug 'tow': did you mean 'two'"):
        make(package).get("tow")


def test_an_entry_point_adds_one_and_takes_no_packaged_name(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outsiders(monkeypatch, tmp_path, "three = plugged.two:PLUGIN\none = plugged.two:PLUGIN")
    plugs = make(package)
    assert plugs.names() == ("one", "two", "three")
    assert plugs.packaged == ("one", "two")
    assert (plugs.get("three"), plugs.get("one")) == ("two", "one")


def test_one_that_cannot_be_imported_names_its_distribution_and_is_left_out_of_all(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outsiders(monkeypatch, tmp_path, "broken = no_such_module:PLUGIN")
    plugs = make(package)
    with pytest.raises(
        LackingError, match="the plug 'broken' of outside can't be imported: ModuleNotFoundError"
    ) as caught:
        plugs.get("broken")
    assert "pip uninstall outside" in str(caught.value.hint)
    assert plugs.names() == ("one", "two", "broken")
    assert list(plugs) == ["one", "two"]


def test_one_that_does_not_fit_in_is_left_out_and_says_why(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outsiders(monkeypatch, tmp_path, "three = plugged.two:PLUGIN")
    rows = {"one": ".one:PLUGIN"}
    plugs: Registry[str] = Registry("plug", "tests.plugs", rows, package, lambda name, plug: f"{name} is {plug}")
    with pytest.raises(LackingError, match="the plug 'three' of outside can't be used: three is two"):
        plugs.get("three")
    assert list(plugs) == ["one"]


def test_the_names_that_an_option_cannot_have_are_those_that_are_there() -> None:
    from gemcut.cli.export import command
    from gemcut.project.tables import _Bundle, _Defaults
    from gemcut.runtimes import RUNTIMES
    from gemcut.runtimes.options import RESERVED

    options = {option.name for name in RUNTIMES.packaged for option in RUNTIMES.get(name).options}
    flags = {str(parameter.name) for parameter in command.params}
    assert (flags | set(_Defaults.model_fields) | set(_Bundle.model_fields)) - options == RESERVED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "other"}, "it calls itself 'other'"),
        ({"table_keys": ("contxt",)}, "did you mean 'context'"),
        ({"option": "recipe"}, "its option 'recipe' has the name of another"),
        ({"option": "dynamic_shape"}, "its option 'dynamic_shape' has the name of another"),
        ({"option": "stiffness"}, ""),
    ],
)
def test_a_runtime_that_would_change_others_does_not_fit_in(changes: dict[str, object], why: str) -> None:
    from types import SimpleNamespace

    from gemcut.runtimes import _misfit
    from gemcut.runtimes.options import RuntimeOption

    option = RuntimeOption(str(changes.pop("option", "own")), "help", "description")
    plugin = SimpleNamespace(**{"name": "outside", "table_keys": ("recipe",), "options": (option,), **changes})
    found = _misfit("outside", plugin)  # type: ignore[arg-type]
    assert why in found if why else not found
