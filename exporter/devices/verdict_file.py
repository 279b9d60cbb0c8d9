"""The verdict of a phone: what an app that replayed a bundle's goldens wrote down, read and judged here.

The file is JSON (``verdict.schema.json``). It holds the outputs, and the app's own judgement, which is never trusted:
the outputs are compared with the exporting machine's record by ``prove.conformance`` like those of any device, and the
texts are decoded again from the token ids.
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
    """The phone.

    Attributes:
        maker: Who made it.
        model: Its model.
        system: The operating system and its version.
        abi: The Android ABI of the app's process.
        cpu: The processor's name.
        cores: The number of cores.
        memory: Bytes of memory.
        emulated: Whether it is an emulator, whose speed says nothing about a phone's.
    """

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
    """One golden's outputs: base64 of little-endian arrays, row by row; see ``prove.golden.Recorded``.

    Attributes:
        id: The id of the golden's prompt.
        logprobs: Float32 [P, K], in nats.
        target_logprobs: Float32 [P], in nats.
        top1: Int32 [P].
        greedy_ids: The tokens of the greedy reply.
        greedy_text: The text of the greedy reply; null if the app couldn't decode it.
    """

    id: str
    logprobs: str
    target_logprobs: str
    top1: str
    greedy_ids: tuple[Token, ...]
    greedy_text: str | None


class VerdictFile(_Part):
    """What an app writes.

    Attributes:
        format: Says that this is a verdict.
        schema_version: The version of this format.
        manifest_sha256: SHA-256 of the bundle's manifest, which stands for the whole bundle.
        runtime: The runtime that ran the program.
        library: SHA-256 of the runtime's library in the app; null if that isn't known.
        device: The phone.
        app: The app.
        goldens: Each golden's outputs, in the bundle's order; none if the program couldn't be run to its end.
        tokens_per_second: Tokens per second of single steps; null if that isn't known.
        peak_memory: The most bytes that were resident because of the program, without what the app took before; 0 if
            that isn't known.
        refused: Why the program couldn't be run to its end; null if it could.
        passed: The app's own judgement.
        max_logprob_diff: The app's own figure; null if it isn't a number.
        mean_kl: The app's own figure; null if it isn't a number.
        failures: The app's own list of failures.
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

    Attributes:
        file: The file as it was written; the app's judgement in it isn't trusted.
        facts: What the phone is.
        recorded: Each golden's outputs, its text decoded here; empty if the program was refused.
        texts_differ: Ids of the goldens whose text in the file isn't that of its tokens.
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
        return _plain(f"{maker} {device.model}".strip()) or "an unnamed phone"


def _plain(text: str) -> str:
    """Text of a stranger's file for a terminal, without anything that isn't printable."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def read_file(path: Path) -> VerdictFile:
    """Read a verdict file by itself.

    Raises:
        UsageError: There is no such file, or it isn't a verdict.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is a verdict, but damaged: a field is missing, misspelt or of the wrong type.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="name the file that the app shared") from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        kind = ConformanceError if FORMAT.encode() in data[:200] else UsageError
        raise kind(f"{path} is truncated or not JSON: {error}", hint=AGAIN) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path} is not a phone's verdict", hint="name the file that the app shared")
    version = found.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise UnsupportedError(
            f"{path} has schema version {version}; this gemcut reads versions up to {SCHEMA_VERSION}",
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
        raise _Damaged(f"{what} is truncated or not base64: {error}") from error
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
        raise _Damaged(f"it has token {strange[0]}, and the vocabulary has {vocab_size} tokens")
    words, ended = strip_stop(part.greedy_ids, stops)
    return Recorded(logprobs, targets, top1, part.greedy_ids, decode(words), ended)


def _all_recorded(file: VerdictFile, subject: Subject, path: Path) -> tuple[Recorded, ...]:
    manifest, stops = subject.bundle.manifest, frozenset(subject.bundle.manifest.stop_ids)
    wanted, there = [golden.prompt.id for golden in subject.goldens], [part.id for part in file.goldens]
    if wanted != there:
        lacking = next((f"{name!r} is missing" for name in wanted if name not in there), "their order differs")
        more = next((f"{name!r} doesn't belong there" for name in there if name not in wanted), lacking)
        raise ConformanceError(
            f"{path} has {len(there)} goldens, and the bundle has {len(wanted)}: "
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
            f"{path} is for another bundle: its manifest's SHA-256 is {file.manifest_sha256[:12]}…, and that of "
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
    """Read a verdict file, and check that it fits the bundle; nothing is judged.

    Args:
        path: The file that the app shared.
        subject: The bundle, every byte of it checked, and its goldens.

    Raises:
        UsageError: There is no such file, or it isn't a verdict.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is damaged, or for another bundle.
    """
    file = read_file(path)
    _require_same_bundle(file, subject.bundle, path)
    if file.refused is not None:
        if file.goldens:
            raise ConformanceError(f"{path} has outputs of a program that, it says, was not run", hint=AGAIN)
        return PhoneRun(file, _facts(file), (), ())
    recorded = _all_recorded(file, subject, path)
    differ = tuple(
        part.id
        for part, one in zip(file.goldens, recorded, strict=True)
        if part.greedy_text is not None and part.greedy_text != one.greedy_text
    )
    return PhoneRun(file, _facts(file), recorded, differ)


def disagreements(run: PhoneRun, conformance: Conformance) -> Iterator[str]:
    """Yield, in words, where the app's own judgement differs from what its outputs give here."""
    file = run.file
    if file.passed != conformance.passed:
        word, found = ("passed", "don't") if file.passed else ("failed", "do")
        yield f"the file says that {run.name} {word}; its outputs {found} pass here, which is what counts"
    for name, said, here in (
        ("largest log-probability difference", file.max_logprob_diff, conformance.max_logprob_diff),
        ("mean KL", file.mean_kl, conformance.mean_kl),
    ):
        known = said if said is not None else math.inf
        if not (known == here or math.isclose(known, here, rel_tol=_AGREES, abs_tol=1e-12)):
            yield f"the file says {name} {known:.4g}; its outputs give {here:.4g} here"
    if run.texts_differ:
        yield f"the file's text of {run.texts_differ[0]!r} differs from that of its tokens, which are what counts"


def verdict_from(subject: Subject, path: Path, progress: Progress | None = None) -> DeviceVerdict:
    """Return a phone's verdict, judged here from the outputs that the app wrote down.

    Args:
        subject: The bundle, every byte of it checked, its goldens and the exporting machine's record.
        path: The file that the app shared.
        progress: Receives a note of each difference between the app's own judgement and this one.

    Returns:
        The verdict; its ``seconds`` is 0, since the file doesn't say how long the proof took.

    Raises:
        UsageError: There is no such file, or it isn't a verdict.
        UnsupportedError: A newer app wrote it.
        ConformanceError: It is damaged, or for another bundle.
    """
    run = read_verdict(path, subject)
    if run.file.refused is not None:
        refused = f"{run.name}: the program can't be run: {_plain(run.file.refused) or 'no reason is given'}"
        return DeviceVerdict(run.name, subject.runtime, run.facts, None, (), run.file.peak_memory, 0.0, refused)
    conformance = compare(subject.goldens, subject.host, run.recorded, subject.share)
    if progress is not None:
        for one in disagreements(run, conformance):
            progress.note(one)
    return DeviceVerdict(run.name, subject.runtime, run.facts, conformance, (), run.file.peak_memory, 0.0)


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema that is shipped as ``verdict.schema.json``."""
    return schema.titled_schema(VerdictFile, "Gemcut verdict of a phone")


def schema_text() -> str:
    """Return the content that ``verdict.schema.json`` should have."""
    return schema.schema_text(verdict_schema())
