"""The verdict of a phone: what an app that replayed a bundle's goldens wrote down, read and judged here.

The file is JSON (``verdict.schema.json``). It says what came out there, and what the app made of it; the latter is
never trusted: the outputs are held against the exporting machine's record by ``prove.conformance`` as those of any
device, and texts are decoded anew from the token ids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..bundle.manifest import MANIFEST, Sha256
from ..config import json_schema as schema
from ..errors import ConformanceError, UnsupportedError, UsageError
from ..prove.conformance import Conformance, compare
from ..prove.golden import Golden, Recorded, strip_stop
from ..util.progress import Progress
from .base import Facts, Library
from .replay import DeviceVerdict, Subject

if TYPE_CHECKING:
    from ..bundle.reader import Bundle

FORMAT = "gemcut-verdict"
SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("verdict.schema.json")
AGAIN = "run 'Prove on this phone' again and share its file unchanged"
_AGREES = 1e-6  # relative: the app computes in double too, and may add in another order

Count = Annotated[int, Field(ge=0)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Figure = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RuntimePart(_Part):
    """The runtime that ran the program there."""

    name: str
    version: str


class DevicePart(_Part):
    """The phone. ``memory`` in bytes; ``emulated``: an emulator, whose speed says nothing of a phone's."""

    maker: str
    model: str
    system: str
    abi: str
    cpu: str
    cores: Count
    memory: Count
    emulated: bool = False


class AppPart(_Part):
    """The app that wrote the file."""

    id: str
    version: str


class GoldenPart(_Part):
    """One golden's outputs: base64 of little-endian arrays, row by row.

    ``logprobs``: float32 [P, K], nats; ``target_logprobs``: float32 [P]; ``top1``: int32 [P]; see
    ``prove.golden.Recorded``. ``greedy_text``: null where the app could not decode it.
    """

    id: str
    logprobs: str
    target_logprobs: str
    top1: str
    greedy_ids: tuple[Token, ...]
    greedy_text: str | None


class VerdictFile(_Part):
    """What an app writes.

    ``manifest_sha256``: of the bundle's manifest, which stands for the whole bundle. ``library``: SHA-256 of the
    runtime's library in the app. ``tokens_per_second``: of single steps. ``peak_memory``: bytes that were resident at
    most, 0 where that isn't known. ``refused``: why the program couldn't be run to its end; then there are no goldens.
    ``passed``, ``max_logprob_diff``, ``mean_kl``, ``failures``: the app's own judgement; null where not a number.
    """

    format: Literal["gemcut-verdict"]
    schema_version: Literal[1]
    manifest_sha256: Sha256
    runtime: RuntimePart
    library: Sha256 | None
    device: DevicePart
    app: AppPart
    goldens: tuple[GoldenPart, ...]
    tokens_per_second: Figure | None
    peak_memory: Count
    refused: str | None
    passed: bool
    max_logprob_diff: Figure | None
    mean_kl: Figure | None
    failures: tuple[str, ...]


@dataclass(frozen=True)
class PhoneRun:
    """A verdict file that fits its bundle.

    file: as written, without the app's word being trusted. recorded: each golden's outputs, its text decoded here;
    empty where the program was refused. texts_differ: ids of the goldens whose text in the file isn't that of its
    tokens.
    """

    file: VerdictFile
    facts: Facts
    recorded: tuple[Recorded, ...]
    texts_differ: tuple[str, ...]

    @property
    def name(self) -> str:
        """The phone, as a person would call it."""
        device = self.file.device
        maker = "" if device.model.lower().startswith(device.maker.lower()) else device.maker
        return _plain(f"{maker} {device.model}".strip()) or "a phone without a name"


def _plain(text: str) -> str:
    """Text of a stranger's file, for a terminal: nothing in it that isn't printed."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def read_file(path: Path) -> VerdictFile:
    """Reads a verdict file by itself.

    Raises:
        UsageError: There is none, or it is something else.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is one, but damaged: a field is missing, misspelt or of the wrong kind.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="name the file that the app shared") from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        kind = ConformanceError if FORMAT.encode() in data[:200] else UsageError
        raise kind(f"{path} is truncated or no JSON: {error}", hint=AGAIN) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path} is not a verdict of a phone", hint="name the file that the app shared")
    version = found.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise UnsupportedError(
            f"{path} has schema version {version}; this gemcut reads up to {SCHEMA_VERSION}",
            hint="upgrade gemcut: pip install --upgrade gemcut",
        )
    try:
        return VerdictFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConformanceError(f"{path}: {place}: {first['msg']}", hint=AGAIN) from error


class _Damaged(Exception):
    """What is wrong with one golden."""


def _array(text: str, kind: str, shape: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _Damaged(f"{what} is truncated or no base64: {error}") from error
    wanted = 4 * math.prod(shape)
    if len(data) != wanted:
        raise _Damaged(f"{what} has {len(data):,} bytes instead of {wanted:,} (shape {list(shape)})")
    return np.frombuffer(data, kind).reshape(shape).astype(kind[1:])


def _recorded(
    part: GoldenPart, golden: Golden, vocab_size: int, stops: frozenset[int], decode: Callable[[Sequence[int]], str]
) -> Recorded:
    rows, width = golden.topk_ids.shape
    logprobs = _array(part.logprobs, "<f4", (rows, width), "logprobs")
    targets = _array(part.target_logprobs, "<f4", (rows,), "target_logprobs")
    top1 = _array(part.top1, "<i4", (rows,), "top1")
    ids = [*part.greedy_ids, *(int(token) for token in top1)]
    if strange := [token for token in ids if not 0 <= token < vocab_size]:
        raise _Damaged(f"it names token {strange[0]}; the vocabulary has {vocab_size}")
    words, ended = strip_stop(part.greedy_ids, stops)
    return Recorded(logprobs, targets, top1, part.greedy_ids, decode(words), ended)


def _all_recorded(file: VerdictFile, subject: Subject, path: Path) -> tuple[Recorded, ...]:
    manifest, stops = subject.bundle.manifest, frozenset(subject.bundle.manifest.stop_ids)
    wanted, there = [golden.prompt.id for golden in subject.goldens], [part.id for part in file.goldens]
    if wanted != there:
        lacking = next((f"{name!r} is missing" for name in wanted if name not in there), "their order differs")
        more = next((f"{name!r} doesn't belong there" for name in there if name not in wanted), lacking)
        raise ConformanceError(
            f"{path} has {len(there)} goldens, the bundle {len(wanted)}: "
            f"{lacking if len(there) < len(wanted) else more}",
            hint=AGAIN,
        )
    found = []
    for part, golden in zip(file.goldens, subject.goldens, strict=True):
        try:
            found.append(_recorded(part, golden, manifest.vocab_size, stops, subject.decode))
        except _Damaged as error:
            raise ConformanceError(f"{path}: golden {part.id!r}: {error}", hint=AGAIN) from error
    return tuple(found)


def _facts(file: VerdictFile) -> Facts:
    device, runtime = file.device, file.runtime
    version = _plain(runtime.version)
    library = Library("the app's library", version, file.library) if file.library else None
    return Facts(
        system=_plain(device.system),
        architecture=_plain(device.abi),
        cpu=_plain(device.cpu),
        features=(),
        cores=device.cores,
        memory=device.memory,
        emulated=device.emulated,
        runtimes={runtime.name: version},
        library=library,
    )


def _require_same_bundle(file: VerdictFile, bundle: Bundle, path: Path) -> None:
    manifest = bundle.manifest
    here = hashlib.sha256(bundle.read(MANIFEST)).hexdigest()
    if file.manifest_sha256 != here:
        raise ConformanceError(
            f"{path} is of another bundle: its manifest's SHA-256 is {file.manifest_sha256[:12]}…, that of "
            f"{bundle.path} is {here[:12]}…",
            hint="name the bundle that is in the app, or prove this one on the phone",
        )
    if file.runtime.name != manifest.runtime.name:
        raise ConformanceError(
            f"{path} says that {_plain(file.runtime.name)!r} ran the program; this bundle is for "
            f"{manifest.runtime.name}",
            hint=AGAIN,
        )


def read_verdict(path: Path, subject: Subject) -> PhoneRun:
    """Reads a verdict file and holds it against the bundle that it says to be of; judges nothing.

    Args:
        path: What the app shared.
        subject: The bundle, every byte of it checked, and its goldens.

    Raises:
        UsageError: There is no such file, or it is something else.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is damaged, or of another bundle.
    """
    file = read_file(path)
    _require_same_bundle(file, subject.bundle, path)
    if file.refused is not None:
        if file.goldens:
            raise ConformanceError(f"{path} has goldens of a program that it says was not run", hint=AGAIN)
        return PhoneRun(file, _facts(file), (), ())
    recorded = _all_recorded(file, subject, path)
    differ = tuple(
        part.id
        for part, one in zip(file.goldens, recorded, strict=True)
        if part.greedy_text is not None and part.greedy_text != one.greedy_text
    )
    return PhoneRun(file, _facts(file), recorded, differ)


def disagreements(run: PhoneRun, conformance: Conformance) -> Iterator[str]:
    """Where the app's own judgement isn't what its outputs give here, in words."""
    file = run.file
    if file.passed != conformance.passed:
        word, found = ("passed", "don't") if file.passed else ("failed", "do")
        yield f"the file says that {run.name} {word}; its outputs {found} pass here, and that is what counts"
    for name, said, here in (
        ("largest log-probability difference", file.max_logprob_diff, conformance.max_logprob_diff),
        ("mean KL", file.mean_kl, conformance.mean_kl),
    ):
        known = said if said is not None else math.inf
        if not (known == here or math.isclose(known, here, rel_tol=_AGREES, abs_tol=1e-12)):
            yield f"the file says {name} {known:.4g}; its outputs give {here:.4g} here"
    if run.texts_differ:
        yield f"the file's text of {run.texts_differ[0]!r} is not that of its tokens, which are what counts"


def verdict_from(subject: Subject, path: Path, progress: Progress | None = None) -> DeviceVerdict:
    """A phone's verdict, judged here from the outputs that the app wrote down.

    Args:
        subject: The bundle, every byte of it checked, its goldens and the exporting machine's record.
        path: What the app shared.
        progress: Told where the app's own judgement isn't ours.

    Returns:
        ``seconds`` is 0: the file doesn't say how long the proof took.

    Raises:
        UsageError: There is no such file, or it is something else.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is damaged, or of another bundle.
    """
    run = read_verdict(path, subject)
    if run.file.refused is not None:
        refused = f"{run.name}: the program can't be run: {_plain(run.file.refused) or 'no reason given'}"
        return DeviceVerdict(run.name, subject.runtime, run.facts, None, (), run.file.peak_memory, 0.0, refused)
    conformance = compare(subject.goldens, subject.host, run.recorded, subject.share)
    if progress is not None:
        for one in disagreements(run, conformance):
            progress.note(one)
    return DeviceVerdict(run.name, subject.runtime, run.facts, conformance, (), run.file.peak_memory, 0.0)


def verdict_schema() -> dict[str, Any]:
    """The JSON Schema that is shipped as ``verdict.schema.json``."""
    return schema.titled_schema(VerdictFile, "Gemcut verdict of a phone")


def schema_text() -> str:
    """The content that ``verdict.schema.json`` should have."""
    return schema.schema_text(verdict_schema())
