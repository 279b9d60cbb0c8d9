"""How many threads programs run with on this machine."""

from __future__ import annotations

import os

import pytest
from gemcut.errors import UsageError
from gemcut.util.platform import THREADS, host_threads


def test_all_processors_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    assert host_threads() == len(os.sched_getaffinity(0))


def test_as_many_as_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, " 3 ")
    assert host_threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_what_is_no_number_of_threads_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(THREADS, text)
    with pytest.raises(UsageError, match=f"{THREADS} is '{text}', which isn't a number of threads"):
        host_threads()
