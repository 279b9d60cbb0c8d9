"""The models of ``prompt.json``; docs/prompt.md says what each part means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..config import json_schema as schema
from ..errors import ConformanceError, UnsupportedError

PROMPT_FILE = "prompt.json"
FORMAT = "gemcut-prompt"
SCHEMA_VERSION = 2  # 2 brought `thinking`
SCHEMA_FILE = Path(__file__).with_name("prompt.schema.json")

Trim = Literal["none", "start", "end", "both"]
From = Literal["start", "system", "tools", "user", "assistant", "call", "words", "result"]
To = Literal["system", "tools", "user", "assistant", "call", "words", "result", "generation", "end"]
TextKind = Literal["system", "user", "assistant", "words"]
When = Literal["present", "truthy", "always", "required"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StringWriter(_Part):
    """A string between ``open`` and ``close``."""

    write: Literal["string"] = "string"
    open: str = ""
    close: str = ""
    escape: Literal["none", "json"] = "none"
    trim: Trim = "none"
    upper: bool = False


class NumberWriter(_Part):
    """A number's own text between ``open`` and ``close``."""

    write: Literal["number"] = "number"
    open: str = ""
    close: str = ""


class ListWriter(_Part):
    """The items of a list, each by ``item``. ``empty``: what stands for an empty one; open + close where null."""

    write: Literal["list"] = "list"
    open: str
    between: str
    close: str
    empty: str | None = None
    item: Writer


class MapWriter(_Part):
    """The members of an object. ``by_key``: writers of some members' values, before ``value``.

    ``refuses``: keys that the template treats in a way that no writer explains.
    """

    write: Literal["map"] = "map"
    open: str
    between: str
    close: str
    empty: str | None = None
    colon: str
    sort: Literal["none", "dictsort", "codepoints"] = "none"
    skip_null: bool = False
    key: StringWriter
    value: Writer
    by_key: dict[str, Writer] = {}
    refuses: tuple[str, ...] = ()


class RecordField(_Part):
    """One field of a record. ``joined``: it takes part in separation by ``between``."""

    key: str
    before: str = ""
    after: str = ""
    when: When = "present"
    joined: bool = True
    writer: Writer | None = None


class RecordWriter(_Part):
    """Known members of an object in a fixed order."""

    write: Literal["record"] = "record"
    open: str
    between: str
    close: str
    fields: tuple[RecordField, ...]
    refuses: tuple[str, ...] = ()
    others: Literal["ignore", "refuse"] = "ignore"


class CasesWriter(_Part):
    """An object by the text of one of its members, as by a schema's ``type``."""

    write: Literal["cases"] = "cases"
    key: str
    cases: dict[str, Writer]
    other: Writer | None = None


class AnyWriter(_Part):
    """A value by its JSON type; null where the template can't write that type."""

    write: Literal["any"] = "any"
    string: Writer | None = None
    number: Writer | None = None
    true: str | None = None
    false: str | None = None
    null: str | None = None
    list: Writer | None = None
    map: Writer | None = None


class RefWriter(_Part):
    """A writer of ``tools.writers`` by its name."""

    write: Literal["ref"] = "ref"
    name: str


Writer = Annotated[
    StringWriter | NumberWriter | ListWriter | MapWriter | RecordWriter | CasesWriter | AnyWriter | RefWriter,
    Field(discriminator="write"),
]


class Channel(_Part):
    """What is taken out of a text: from ``open`` to ``close``."""

    open: str = Field(min_length=1)
    close: str = Field(min_length=1)


class Body(_Part):
    """What becomes of a text before it is written. ``after``: other trims, by the kind of the segment before."""

    trim: Trim = "none"
    after: dict[From, Trim] = {}
    empty: Literal["keep", "drop", "refuse"] = "keep"
    remove: tuple[Channel, ...] = ()


class Chat(_Part):
    """The texts between the segments of a chat, and what becomes of the segments that are texts."""

    joints: dict[From, dict[To, str]]
    bodies: dict[TextKind, Body]


class Tools(_Part):
    """How declarations, calls and results are written.

    order: in which sequence the parts of a message with calls come; results stand last where not named.
    marker: the text that announces a call.
    """

    place: Literal["before-system", "after-system"]
    order: tuple[Literal["words", "call", "result"], ...]
    marker: str = Field(min_length=1)
    between_declarations: str
    between_calls: str
    declaration: Writer
    call: RecordWriter
    result: RecordWriter
    writers: dict[str, Writer] = {}


class Bos(_Part):
    """The beginning-of-sequence token. ``written``: each rendered text begins with it, so none is to be added."""

    id: int | None
    text: str | None
    written: bool


class Stop(_Part):
    """The tokens that end a reply, and their texts in the same order."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]


class Reasons(_Part):
    """Why a part couldn't be compiled; null where it was. ``thinking`` also where the template knows none."""

    chat: str | None = None
    tools: str | None = None
    thinking: str | None = None


class PromptFile(_Part):
    """``prompt.json``. ``thinking``: what stands for ``chat`` where the model is to think; ``tools`` serve both.

    Version 1 had no thinking.
    """

    format: Literal["gemcut-prompt"] = "gemcut-prompt"
    schema_version: Literal[1, 2] = 2
    chat: Chat | None
    thinking: Chat | None = None
    tools: Tools | None
    bos: Bos
    stop: Stop
    reasons: Reasons


for _model in (ListWriter, MapWriter, RecordField, RecordWriter, CasesWriter, AnyWriter, Tools, PromptFile):
    _model.model_rebuild()


def prompt_text(prompt: PromptFile) -> str:
    """The file's content, two spaces deep, keys in the order of the models."""
    return json.dumps(prompt.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read_prompt(data: bytes | str, where: str = PROMPT_FILE) -> PromptFile:
    """Reads ``prompt.json``.

    Raises:
        UnsupportedError: If a newer Gemcut wrote it.
        ConformanceError: If it isn't a prompt file.
    """
    again = "copy or export the bundle again"
    try:
        version = json.loads(data).get("schema_version")
    except (ValueError, AttributeError) as error:
        raise ConformanceError(f"{where} is not a JSON object: {error}", hint=again) from error
    if type(version) is int and version > SCHEMA_VERSION:
        raise UnsupportedError(
            f"{where} has schema version {version}; this gemcut reads up to {SCHEMA_VERSION}",
            hint="upgrade gemcut: pip install --upgrade gemcut",
        )
    try:
        return PromptFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConformanceError(f"{where}: {place}: {first['msg']}", hint=again) from error


def prompt_schema() -> dict[str, Any]:
    """The JSON Schema that is shipped as ``prompt.schema.json``."""
    return schema.titled_schema(PromptFile, "Gemcut compiled prompt")


def schema_text() -> str:
    """The content that ``prompt.schema.json`` should have."""
    return schema.schema_text(prompt_schema())
