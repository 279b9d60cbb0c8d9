"""The chat template compiled to ``prompt.json`` at export, and held against the template at every proof."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .prompt.format import PROMPT_FILE, read_prompt
from .prove.behaviour import Check, Miss

if TYPE_CHECKING:
    from .bundle.open import Bundle
    from .prove.prompts import Prompt
    from .prove.records import Golden
    from .prove.template import ChatCodec
    from .prove.toolcalls import ReadCalls

CHECK = "compiled_prompt"


@dataclass(frozen=True)
class CompiledPrompt:
    """data: of ``prompt.json``. notes: what of the template it can't say, and why."""

    data: bytes
    notes: tuple[str, ...]


def compile_prompt(codec: ChatCodec, stop_ids: Iterable[int], prompts: Sequence[Prompt]) -> CompiledPrompt:
    """Compiles a template by probing it, and proves the result on the goldens' prompts and on generated chats."""
    from .prompt.format import prompt_text
    from .prompt.proving import make_prompt

    prompt, _ = make_prompt(codec, stop_ids, prompts)
    notes = []
    if codec.has_template and prompt.chat is None:
        notes.append(f"prompt.json can't say what the chat template does, so an app needs Jinja: {prompt.reasons.chat}")
    elif codec.has_template and prompt.tools is None and any(one.tools for one in prompts):
        notes.append(f"prompt.json has no tools, so an app that declares any needs Jinja: {prompt.reasons.tools}")
    if prompt.chat is not None and prompt.thinking is None and any(one.thinking for one in prompts):
        why = prompt.reasons.thinking
        notes.append(f"prompt.json can't turn thinking on, so an app that wants it needs Jinja: {why}")
    return CompiledPrompt(prompt_text(prompt).encode(), tuple(notes))


def read_calls(bundle: Bundle) -> ReadCalls:
    """What reads tool calls in the form of the bundle's own template; in Gemma 4's where it isn't compiled.

    Raises:
        ConformanceError: ``prompt.json`` isn't one.
    """
    from .prompt.parsing import call_reader

    if PROMPT_FILE not in bundle.manifest.files:
        return call_reader(None)
    return call_reader(read_prompt(bundle.read(PROMPT_FILE), str(bundle.path)))


def check_prompt(bundle: Bundle, codec: ChatCodec, goldens: Sequence[Golden]) -> tuple[Check, ...]:
    """Whether the bundle's ``prompt.json`` still gives the template's token ids on the goldens; none where it has none.

    Raises:
        ConformanceError: it isn't one.
    """
    from .prompt.proving import prove_prompt

    if PROMPT_FILE not in bundle.manifest.files:
        return ()
    prompt = read_prompt(bundle.read(PROMPT_FILE), str(bundle.path))
    misses, applies = [], 0
    for golden in goldens:
        found = prove_prompt(prompt, codec, [golden.prompt], count=0)
        applies += found.goldens
        misses += [Miss(golden.prompt.id, str(one)) for one in found.differences]
    return (Check(CHECK, applies, 1.0, tuple(misses)),)
