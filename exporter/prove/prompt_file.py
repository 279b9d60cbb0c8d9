"""``golden_prompts.jsonl``: the prompts that a model is to be proven with, one JSON object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..config.json_schema import titled_schema
from ..errors import CheckpointError, nearest
from ..prompt.chats import Prompt
from ..prompt.expected import Expected

SCHEMA_FILE = Path(__file__).with_name("golden_prompts.schema.json")
DOCUMENTED = "docs/guides/golden-prompts.md has the format"
_EXAMPLE = '{"id": "alarm", "messages": [{"role": "user", "content": "..."}]}'
Message = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CallLine(_Part):
    """A tool call that is expected."""

    name: Annotated[str, Field(min_length=1, description="The tool's name.")]
    arguments: dict[str, Any] = Field(default={}, description="Every argument by its name.")


class ExpectedLine(_Part):
    """What the answer must be: one of the four."""

    text: str | None = Field(default=None, description="The reply, white space around it aside.")
    pattern: str | None = Field(default=None, description="A regular expression that is found in the reply.")
    json_: Any = Field(default=None, alias="json", description="The reply is JSON of this value.")
    calls: list[CallLine] | None = Field(
        default=None, description="The reply's tool calls, in this order; an empty list: none."
    )

    @model_validator(mode="after")
    def _one(self) -> ExpectedLine:
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of text, pattern, json and calls")
        (name,) = self.model_fields_set
        if name != "json_" and getattr(self, name) is None:
            raise ValueError(f'{name} is null; to expect JSON\'s null, write {{"json": null}}')
        return self

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    def read(self) -> Expected:
        """Return it as the rest of Gemcut has it."""
        if self.calls is not None:
            return Expected("calls", [call.model_dump() for call in self.calls])
        if self.text is not None:
            return Expected("text", self.text)
        return Expected("pattern", self.pattern) if self.pattern is not None else Expected("json", self.json_)


class PromptLine(_Part):
    """One prompt."""

    id: Annotated[str, Field(min_length=1, description="Its name in reports, unlike that of any other.")]
    messages: list[Message] = Field(
        default=[], description="The chat in OpenAI's form: a role, and content or tool_calls."
    )
    tools: list[Message] | None = Field(default=None, description="Declarations of the tools that it may call.")
    text: str = Field(default="", description="For a base model: text to continue, instead of messages.")
    thinking: bool = Field(default=False, description="Whether the template's enable_thinking is set.")
    add_generation_prompt: bool = Field(default=True, description="Whether the model is to answer.")
    expected: ExpectedLine | None = Field(
        default=None, description="What the answer must be; the budget 'expected' counts how often it is."
    )
    kind: str | None = Field(default=None, description="What reports call this sort of prompt.")

    @model_validator(mode="after")
    def _either(self) -> PromptLine:
        if bool(self.messages) == bool(self.text):
            raise ValueError("give either messages or a text")
        if not all(isinstance(message.get("role"), str) for message in self.messages):
            raise ValueError("each message needs a role")
        if self.expected is not None and not self.add_generation_prompt:
            raise ValueError("an expected answer needs add_generation_prompt")
        return self

    def read(self) -> Prompt:
        """Return it as the rest of Gemcut has it."""
        kind = "text" if self.text else "thinking" if self.thinking else "tool" if self.tools else "chat"
        return Prompt(
            id=self.id,
            kind=self.kind or kind,
            messages=tuple(self.messages),
            tools=tuple(self.tools or ()),
            add_generation_prompt=self.add_generation_prompt,
            text=self.text,
            thinking=self.thinking,
            expected=None if self.expected is None else self.expected.read(),
        )


def prompts_schema() -> dict[str, Any]:
    """Return the JSON Schema of one line."""
    return titled_schema(PromptLine, "A line of golden_prompts.jsonl")


def read_prompt(entry: Any, where: str) -> Prompt:
    """Return the prompt of one line.

    Args:
        entry: The line's JSON value.
        where: The line, for messages.

    Raises:
        CheckpointError: It isn't a prompt; the message names what is wrong, and the nearest key to an unknown one.
    """
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where}: not a JSON object", hint=f"write a prompt a line: {_EXAMPLE}")
    try:
        return PromptLine.model_validate(entry).read()
    except ValidationError as error:
        raise CheckpointError(f"{where}: {_told(error)}", hint=f"{DOCUMENTED}; a line is {_EXAMPLE}") from error


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    place = [part for part in first["loc"] if isinstance(part, str)]
    name = ".".join(place)
    if first["type"] == "extra_forbidden":
        inner: dict[str, type[_Part]] = {"expected": ExpectedLine, "calls": CallLine}
        model = inner.get(place[-2] if len(place) > 1 else "", PromptLine)
        known = [field.alias or key for key, field in model.model_fields.items()]
        return f"unknown key {place[-1]!r}: {nearest(place[-1], known)}"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {said[:1].lower()}{said[1:]}" if name else said


def no_twins(prompts: Iterable[Prompt], where: str) -> list[Prompt]:
    """Return the prompts.

    Raises:
        CheckpointError: Two have the same id.
    """
    seen: dict[str, Prompt] = {}
    for prompt in prompts:
        if prompt.id in seen:
            raise CheckpointError(f"{where}: two prompts have the id {prompt.id!r}", hint="give each its own id")
        seen[prompt.id] = prompt
    return list(seen.values())


def load_prompts(path: Path) -> list[Prompt]:
    """Read a file of prompts.

    Raises:
        CheckpointError: If a line can't be read; the message names it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would cut at U+2028 too
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} can't be read: {error}", hint="give a UTF-8 file, one prompt a line") from error
    found = [
        read_prompt(_parsed(line, f"{path.name}, line {number}"), f"{path.name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    return no_twins(found, path.name)


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise CheckpointError(f"{where}: not JSON: {error}", hint="write one JSON object a line") from error


def expected_of(entry: Mapping[str, Any] | None) -> Expected | None:
    """Return the expected answer that ``Expected.entry`` wrote; None if there is none.

    Raises:
        ValueError: It isn't one.
    """
    return None if entry is None else ExpectedLine.model_validate(entry).read()
