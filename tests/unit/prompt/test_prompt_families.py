"""What each family's template can do: which kinds of goldens it gets."""

from __future__ import annotations

import pytest
from gemcut.prove.prompts import LEAST_PROMPTS, choose_prompts, needs

from tests.support.compiled_templates import KINDS


@pytest.mark.parametrize("name", sorted(KINDS))
def test_goldens_are_of_the_kinds_that_the_template_can_do(compiled, name):
    chosen = choose_prompts(compiled(name).codec, None, 100_000)
    assert {prompt.kind for prompt in chosen} == KINDS[name]
    assert frozenset().union(*map(needs, chosen)) == KINDS[name] - {"chat"}
    assert len(chosen) >= LEAST_PROMPTS
