"""Compiled templates, each once a session."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from gemcut.prompt import format as form
from gemcut.prompt.codec import ChatCodec, Template, load_codec
from gemcut.prompt.compiler import compile_codec, compile_prompt

TEMPLATES = Path(__file__).parent / "templates"
SAMPLE = Path(form.__file__).parent.parent / "sample" / "model"
NAMES = {"bos_token": "<bos>", "eos_token": "</s>"}


class CharacterCodec:
    """A template with a tokenizer whose tokens are characters: equal ids are equal texts."""

    special_ids: frozenset[int] = frozenset()
    bos_id = None
    has_template = True

    def __init__(self, template: Template) -> None:
        self.template = template

    def render(
        self, messages: Sequence[Any], tools: Sequence[Any] | None, add_generation_prompt: bool, thinking: bool = False
    ) -> str:
        return self.template.render(messages, tools, add_generation_prompt, thinking)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(character) for character in text]


@dataclass(frozen=True)
class Compiled:
    prompt: form.PromptFile
    codec: Any


def compile_source(source: str, special: Sequence[str] = ()) -> Compiled:
    codec = CharacterCodec(Template(source, NAMES))
    later = Template(source, NAMES, datetime.datetime(2031, 5, 6, 7, 8))
    bos = form.Bos(id=2, text="<bos>", written=False)
    stop = form.Stop(ids=(1,), texts=("</s>",))
    thinking = partial(codec.render, thinking=True)
    prompt = compile_prompt(
        codec.render, bos=bos, stop=stop, special=special, other_day=later.render, thinking=thinking
    )
    return Compiled(prompt, codec)


@cache
def _compiled(name: str) -> Compiled:
    tokens = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|turn>", "<turn|>", "<|im_end|>")
    tokens += ("<start_function_call>", "<end_function_call>", "<start_function_response>", "<escape>")
    source = (TEMPLATES / f"{name}.jinja").read_text()
    return compile_source(source, [token for token in tokens if token in source])


@cache
def _sample_codec() -> ChatCodec:
    names = {"bos_token": "<bos>", "eos_token": "<eos>"}
    return load_codec(SAMPLE / "tokenizer.json", (SAMPLE / "chat_template.jinja").read_text(), names, bos_id=2)


@cache
def _sample() -> Compiled:
    return Compiled(compile_codec(_sample_codec(), (1, 6)), _sample_codec())


def compiled_template(name: str) -> Compiled:
    """A template of ``templates/`` by its name; the packaged sample's by ``sample``."""
    return _sample() if name == "sample" else _compiled(name)


# What each template can do, by kind of golden prompt.
PLAIN = {"chat", "multi-turn"}
WITH_TOOLS = PLAIN | {"system", "tool", "result"}
# Gemma 3 and Llama 2 have no syntax of their own for tools, so nothing of tools is asked of them.
KINDS = {
    "gemma1": PLAIN,
    "gemma2": PLAIN,
    "gemma3": PLAIN | {"system"},
    "gemma3n": PLAIN | {"system"},
    "functiongemma": WITH_TOOLS,
    "gemma4": WITH_TOOLS | {"thinking"},
    "gemma4_july": WITH_TOOLS | {"thinking"},
    "llama2": PLAIN | {"system"},
    "chatml_tools": WITH_TOOLS,
    "sample": WITH_TOOLS,
}
