"""Compiled templates, each once a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.compiled_templates import Compiled, compiled_template


@pytest.fixture(scope="session")
def compiled() -> Callable[[str], Compiled]:
    """Compiles a template of ``templates/`` by its name; the packaged sample's by ``sample``."""
    return compiled_template
