"""What each family's template can do: which kinds of goldens it gets."""

from __future__ import annotations

import pytest
from gemcut.prove.prompts import LEAST_PROMPTS, choose_prompts, needs

PLAIN = {"chat", "multi-turn"}
WITH_TOOLS = PLAIN | {"system", "tool", "result"}
# Gemma 3 and Llama 2 have no syntax of their own for tools, so nothing of tools is asked of them.
KINDS = {
    "gemma1": PLAIN,
    "gemma2": PLAIN,
    "gemma3": PLAIN | {"system"},
    "gemma3n": PLAIN | {"system"},
    "gemma4": WITH_TOOLS | {"thinking"},
    "gemma4_july": WITH_TOOLS | {"thinking"},
    "llama2": PLAIN | {"system"},
    "chatml_tools": WITH_TOOLS,
    "sample": WITH_TOOLS,
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_goldens_are_of_the_kinds_that_the_template_can_do(compiled, name):
    chosen = choose_prompts(compiled(name).codec, None, 100_000)
    assert {prompt.kind for prompt in chosen} == KINDS[name]
    assert frozenset().union(*map(needs, chosen)) == KINDS[name] - {"chat"}
    assert len(chosen) >= LEAST_PROMPTS
