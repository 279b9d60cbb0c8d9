"""The models of ``prompt.json``; docs/concepts/prompt.md says what each part means."""

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
    """A string between ``open`` and ``close``.

    Attributes:
        open: The text before the string.
        close: The text after the string.
        escape: Whether the string is escaped as in JSON.
        trim: On which sides white space is trimmed.
        upper: Whether the string is written in upper case.
    """

    write: Literal["string"] = "string"
    open: str = ""
    close: str = ""
    escape: Literal["none", "json"] = "none"
    trim: Trim = "none"
    upper: bool = False


class NumberWriter(_Part):
    """A number's own text between ``open`` and ``close``.

    Attributes:
        open: The text before the number.
        close: The text after the number.
    """

    write: Literal["number"] = "number"
    open: str = ""
    close: str = ""


class ListWriter(_Part):
    """The items of a list.

    Attributes:
        open: The text before the items.
        between: The text between two items.
        close: The text after the items.
        empty: The text of an empty list; open + close if null.
        item: The writer of each item.
    """

    write: Literal["list"] = "list"
    open: str
    between: str
    close: str
    empty: str | None = None
    item: Writer


class MapWriter(_Part):
    """The members of an object.

    Attributes:
        open: The text before the members.
        between: The text between two members.
        close: The text after the members.
        empty: The text of an empty object; open + close if null.
        colon: The text between a key and its value.
        sort: The order of the keys: as given, by Jinja's ``dictsort``, or by code points.
        skip_null: Whether members that are null are left out.
        key: The writer of the keys.
        value: The writer of the values.
        by_key: Writers of some members' values, used instead of ``value``.
        refuses: Keys that the template treats in a way that no writer explains.
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
    """One field of a record.

    Attributes:
        key: The member's name.
        before: The text before the value.
        after: The text after the value.
        when: Whether the field is written if the member is present, if it is truthy, or always; ``required`` means
            that an object without it is refused.
        joined: Whether the field takes part in separation by ``between``.
        writer: The writer of the value; null if the field's text doesn't depend on it.
    """

    key: str
    before: str = ""
    after: str = ""
    when: When = "present"
    joined: bool = True
    writer: Writer | None = None


class RecordWriter(_Part):
    """Known members of an object in a fixed order.

    Attributes:
        open: The text before the fields.
        between: The text between two joined fields.
        close: The text after the fields.
        fields: The fields in the order of the text.
        refuses: Keys that the template treats in a way that no writer explains.
        others: What happens to members that aren't fields.
    """

    write: Literal["record"] = "record"
    open: str
    between: str
    close: str
    fields: tuple[RecordField, ...]
    refuses: tuple[str, ...] = ()
    others: Literal["ignore", "refuse"] = "ignore"


class CasesWriter(_Part):
    """An object written according to the text of one of its members, such as a schema's ``type``.

    Attributes:
        key: The member that decides.
        cases: The writers by the member's text in lower case.
        other: The writer for any other text; null if the template can't write those.
    """

    write: Literal["cases"] = "cases"
    key: str
    cases: dict[str, Writer]
    other: Writer | None = None


class AnyWriter(_Part):
    """A value written according to its JSON type; null for types that the template can't write.

    Attributes:
        string: The writer of strings.
        number: The writer of numbers.
        true: The text of true.
        false: The text of false.
        null: The text of null.
        list: The writer of lists.
        map: The writer of objects.
    """

    write: Literal["any"] = "any"
    string: Writer | None = None
    number: Writer | None = None
    true: str | None = None
    false: str | None = None
    null: str | None = None
    list: Writer | None = None
    map: Writer | None = None


class RefWriter(_Part):
    """A reference to a writer of ``tools.writers`` by its name."""

    write: Literal["ref"] = "ref"
    name: str


Writer = Annotated[
    StringWriter | NumberWriter | ListWriter | MapWriter | RecordWriter | CasesWriter | AnyWriter | RefWriter,
    Field(discriminator="write"),
]


class Channel(_Part):
    """A part that is taken out of a text: from ``open`` to ``close``, both included."""

    open: str = Field(min_length=1)
    close: str = Field(min_length=1)


class Body(_Part):
    """What is done to a text before it is written.

    Attributes:
        trim: On which sides white space is trimmed.
        after: Other trims, by the kind of the segment before.
        empty: What happens to an empty text.
        remove: The channels that are taken out.
    """

    trim: Trim = "none"
    after: dict[From, Trim] = {}
    empty: Literal["keep", "drop", "refuse"] = "keep"
    remove: tuple[Channel, ...] = ()


class Chat(_Part):
    """The texts between the segments of a chat, and what is done to the segments that are texts.

    Attributes:
        joints: The text between two segments, by the kinds of the one before and the one after.
        bodies: What is done to a text, by its kind.
    """

    joints: dict[From, dict[To, str]]
    bodies: dict[TextKind, Body]


class Tools(_Part):
    """How declarations, calls and results are written.

    Attributes:
        place: Where the declarations stand.
        order: The sequence of the parts of a message with calls; results stand last if they aren't named.
        marker: The text that announces a call.
        between_declarations: The text between two declarations.
        between_calls: The text between two calls.
        declaration: The writer of a declaration.
        call: The writer of a call.
        result: The writer of a result.
        writers: The writers that are referred to by name.
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
    """The beginning-of-sequence token.

    Attributes:
        id: Its token id.
        text: Its text.
        written: Whether each rendered text begins with it, so that none must be added.
    """

    id: int | None
    text: str | None
    written: bool


class Stop(_Part):
    """The tokens that end a reply.

    Attributes:
        ids: Their token ids.
        texts: Their texts, in the same order.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]


class Reasons(_Part):
    """Why a part couldn't be compiled; null for parts that were.

    Attributes:
        chat: Why there is no chat part.
        tools: Why there is no tools part.
        thinking: Why there is no thinking part, which may be that the template has no thinking.
    """

    chat: str | None = None
    tools: str | None = None
    thinking: str | None = None


class PromptFile(_Part):
    """``prompt.json``.

    Attributes:
        format: The name of the format.
        schema_version: The version of the format. Version 1 had no thinking.
        chat: The chat part.
        thinking: What is used instead of ``chat`` if the model is to think.
        tools: The tools part, which serves both.
        bos: The beginning-of-sequence token.
        stop: The tokens that end a reply.
        reasons: Why parts couldn't be compiled.
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
    """Return the file's content, indented by two spaces, with the keys in the order of the models."""
    return json.dumps(prompt.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read_prompt(data: bytes | str, where: str = PROMPT_FILE) -> PromptFile:
    """Read ``prompt.json``.

    Args:
        data: The file's content.
        where: What error messages call the file.

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
    """Return the JSON Schema that is shipped as ``prompt.schema.json``."""
    return schema.titled_schema(PromptFile, "Gemcut compiled prompt")


def schema_text() -> str:
    """Return the content that ``prompt.schema.json`` should have."""
    return schema.schema_text(prompt_schema())
