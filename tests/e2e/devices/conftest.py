"""Devices, set up once where this machine allows it, and the sample's bundles as they prove them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from gemcut.bundle.reader import open_bundle
from gemcut.devices import make_device
from gemcut.devices.replay import Subject
from gemcut.errors import LackingError
from gemcut.pipeline.proving import subject_of
from gemcut.util.progress import Silent


@pytest.fixture(scope="module", autouse=True)
def device_cache(own_cache: Path, kept_cache: Path) -> Iterator[Path]:
    """These tests' cache is the one that is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMCUT_CACHE", str(kept_cache))
        yield kept_cache


@cache
def _set_up(spec: str) -> str:
    """Sets a device up; returns why it can't be, or nothing."""
    from gemcut.devices.setup import set_up

    try:
        set_up(spec, Silent())
    except LackingError as error:
        return f"{error.message}; {error.hint}"
    return ""


@pytest.fixture(scope="module")
def ready(device_cache: Path) -> Callable[[str, str], None]:
    """Sets a device up where this machine allows it (root, or sudo without a password), else skips with the command."""

    def check(spec: str, runtime: str) -> None:
        if make_device(spec).needs(runtime) and (why := _set_up(spec)):
            pytest.skip(f"{spec} can't be set up here: {why}")

    return check


@pytest.fixture(scope="session")
def subject_of_bundle() -> Callable[[Path], Subject]:
    """A bundle as devices prove it: every byte checked, with its goldens."""

    def load(path: Path) -> Subject:
        bundle = open_bundle(path)
        bundle.verify()
        return subject_of(bundle)

    return load


@pytest.fixture(scope="session")
def few() -> Callable[[Subject, int], Subject]:
    """The subject with so many of its goldens alone, the shortest."""

    def cut(whole: Subject, count: int) -> Subject:
        order = sorted(range(len(whole.goldens)), key=lambda index: len(whole.goldens[index].ids))[:count]
        goldens, host = ([kept[index] for index in order] for kept in (whole.goldens, whole.host))
        return replace(whole, goldens=goldens, host=host)

    return cut
