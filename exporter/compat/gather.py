"""Gathers the facts of this folder: each command reads its sources and writes a TOML file to stdout.

``python -m gemcut.compat.gather executorch REPOSITORY TAG...`` reads a clone of pytorch/executorch.
``python -m gemcut.compat.gather litertlm REPOSITORY TAG WHEEL...`` reads a clone of google-ai-edge/LiteRT-LM at that
tag, and wheels of litert-lm-builder.
``python -m gemcut.compat.gather litert REPOSITORY COMMIT`` reads a clone of google-ai-edge/LiteRT.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

_XNNPACK = "backends/xnnpack"
_HEADER = "schema/core/litertlm_header"


def _show(repository: str, commit: str, path: str) -> str:
    """A file of a git repository at a commit; empty if there is none."""
    command = ["git", "-C", repository, "show", f"{commit}:{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _block(text: str, head: str) -> str:
    """What stands between the braces that follow ``head``, without comments."""
    found = re.search(re.escape(head) + r"[^{]*\{(.*?)\}", text, re.DOTALL)
    return re.sub(r"//.*", "", found[1]) if found else ""


def _array(name: str, values: Iterable[str]) -> str:
    """A TOML array of strings, wrapped at 120 columns."""
    if not (values := list(values)):
        return f"{name} = []"
    lines, line = [], "   "
    for value in map(json.dumps, values):
        if len(line) + len(value) + 2 > 120:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return "\n".join([f"{name} = [", *lines, line, "]"])


def _names(block: str) -> list[str]:
    return [re.split(r"[:=\s]", part.strip())[0] for part in block.split(",") if part.strip()]


def executorch(repository: str, tags: Sequence[str]) -> str:
    """Return what each release's XNNPACK delegate and program loader read, grouping releases that read the same."""
    groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for tag in tags:
        compiler = _show(repository, tag, f"{_XNNPACK}/runtime/XNNCompiler.cpp")
        program = _show(repository, tag, "schema/program.fbs")
        nodes = sorted(f"XNN{name}" for name in re.findall(r"^ +_DEFINE\((\w+)\)", compiler, re.MULTILINE))
        types = sorted(set(re.findall(r"case (?:\w+::)*DataType::(xnn_datatype_\w+)", compiler)))
        marks = sorted(set(re.findall(r'"(XN\d\d)"', compiler)))
        fields = re.findall(r"^ +(\w+):", _block(program, "table Program "), re.MULTILINE)
        own = re.findall(r'file_identifier "(\w+)"', program)
        groups.setdefault(tuple(map(tuple, (own, fields, marks, nodes, types))), []).append(tag.removeprefix("v"))
    schema = _show(repository, tags[-1], f"{_XNNPACK}/serialization/runtime_schema.fbs")
    parts = [
        f"# Numbers of the union XNodeUnion and of the enum XNNDatatype: runtime_schema.fbs at {tags[-1]}.",
        _array("nodes", _names(_block(schema, "union XNodeUnion"))),
        _array("datatypes", _names(_block(schema, "enum XNNDatatype"))),
    ]
    heads = ("program_identifiers", "program_fields", "xnnpack_identifiers", "xnnpack_nodes", "xnnpack_datatypes")
    for found, releases in groups.items():
        parts += ["\n[[group]]", f"releases = {json.dumps(releases)}"]
        parts += [_array(head, values) for head, values in zip(heads, found, strict=True)]
    return "\n".join(parts) + "\n"


# Prints the container's version, its kinds of sections and every field of LlmMetadata as litert-lm-builder has them.
_ASK = """
import json
from litert_lm_builder import litertlm_core as core
try:
    from litert_lm_builder import litertlm_header_schema_py_generated as header
except ImportError:  # before 0.14
    from litert_lm_builder.schema.core import litertlm_header_schema_py_generated as header
from litert_lm_builder.runtime.proto import llm_metadata_pb2
def walk(message, before, seen):
    for field in message.fields:
        yield before + field.name
        inner = field.message_type
        if inner is not None and inner.full_name not in seen:
            yield from walk(inner, f"{before}{field.name}.", (*seen, inner.full_name))
version = [core.LITERTLM_MAJOR_VERSION, core.LITERTLM_MINOR_VERSION, core.LITERTLM_PATCH_VERSION]
kinds = {name: value for name, value in vars(header.AnySectionDataType).items() if isinstance(value, int)}
sections = sorted(kinds, key=kinds.get)
print(json.dumps([version, sections, sorted(walk(llm_metadata_pb2.LlmMetadata.DESCRIPTOR, "", ()))]))
"""


def _of_wheel(wheel: Path) -> tuple[list[int], list[str], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)
        command = [sys.executable, "-c", _ASK]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    version, sections, fields = json.loads(done.stdout)
    return version, sections, fields


def _of_tag(repository: str, tag: str) -> tuple[list[int], list[str], list[str]]:
    header = _show(repository, tag, f"{_HEADER}.h")
    version = [int(number) for number in re.findall(r"LITERTLM_(?:MAJOR|MINOR|PATCH)_VERSION = (\d+)", header)]
    sections = _names(_block(_show(repository, tag, f"{_HEADER}_schema.fbs"), "enum AnySectionDataType"))
    return version, sections, sorted(_proto_fields(repository, tag, "llm_metadata", "LlmMetadata", ""))


def _proto_fields(repository: str, tag: str, file: str, message: str, before: str) -> Iterable[str]:
    """Fields of a message, and of those of the same repository's files that it holds."""
    folder = "runtime/proto"
    text = _show(repository, tag, f"{folder}/{file}.proto")
    texts = [text, *(_show(repository, tag, path) for path in re.findall(r'import "(runtime/proto/\S+)"', text))]
    texts = [re.sub(r"enum \w+ \{[^}]*\}", "", each) for each in texts]  # their braces would end the message early
    block = next((found for each in texts if (found := _block(each, f"message {message} "))), "")
    for kind, name in re.findall(r"^\s*(?:optional |repeated )?([\w.]+) (\w+) = \d+", block, re.MULTILINE):
        yield before + name
        if kind[0].isupper() and before.count(".") < 4:
            yield from _proto_fields(repository, tag, file, kind.rpartition(".")[2], f"{before}{name}.")


def litertlm(repository: str, tag: str, wheels: Sequence[str]) -> str:
    """Return what each release reads of a container: its version, sections, and changes of the metadata's fields."""
    files = f"{_HEADER}.h, {_HEADER}_schema.fbs, runtime/proto/llm_metadata.proto"
    first = (tag.removeprefix("v"), f"google-ai-edge/LiteRT-LM at {tag}: {files}", _of_tag(repository, tag))
    known: list[tuple[str, str, tuple[list[int], list[str], list[str]]]] = [first]
    for wheel in map(Path, wheels):
        number = wheel.name.split("-")[1]
        known.append((number, f"litert-lm-builder {number} of PyPI, of the same release", _of_wheel(wheel)))
    parts: list[str] = []
    before: set[str] = set()
    for release, source, (version, sections, fields) in known:
        parts += ["[[release]]", f'version = "{release}"', f"source = {json.dumps(source)}", f"container = {version}"]
        parts.append(_array("sections", sections))
        parts.append(_array("metadata_added", sorted(set(fields) - before)))
        parts.append(_array("metadata_removed", sorted(before - set(fields))) + "\n")
        before = set(fields)
    return "\n".join(parts)


def litert(repository: str, commit: str) -> str:
    """Return the newest version of each builtin operator that a LiteRT registers."""
    text = _show(repository, commit, "tflite/core/kernels/register.cc")
    text = re.sub(r"/\*.*?\*/|//.*", "", text)
    calls = re.findall(r"AddBuiltin\(\s*BuiltinOperator_(\w+)\s*,\s*[\w:]+\(\)([^;]*)\);", text)
    newest: dict[str, int] = {}
    for name, rest in calls:
        numbers = [int(number) for number in re.findall(r"\d+", rest)]
        newest[name] = max(newest.get(name, 0), numbers[-1] if numbers else 1)
    return "\n".join(f"{name} = {version}" for name, version in sorted(newest.items())) + "\n"


def _main(arguments: Sequence[str]) -> None:
    what, repository, *rest = arguments
    if what == "executorch":
        print(executorch(repository, rest), end="")
    elif what == "litertlm":
        print(litertlm(repository, rest[0], rest[1:]), end="")
    else:
        print(litert(repository, rest[0]), end="")


if __name__ == "__main__":
    _main(sys.argv[1:])
