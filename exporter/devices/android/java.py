"""Replies of ``LlmModule.generate``, through the Java classes that ship with the library, in OpenJDK.

The library's own ``classes.jar`` and ``libexecutorch.so`` run in one process with Android's ``libfbjni.so`` and
``libc++_shared.so``. The Java side of fbjni is compiled from React Native's sources; what it needs of Android and of
SoLoader is in ``java/``, a few lines each.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConformanceError, LackingError
from ...prove.behaviour import Check, Miss
from ...prove.conformance import compare, share_of
from ...prove.golden import Golden, Recorded, strip_stop
from ...util import processes
from ...util.fetching import apt_command, archive_sha256, build_home, discard, making, npm, replace
from ...util.progress import Progress
from ..base import Need
from . import toolchain
from .libraries import AndroidLibrary, data, parse_npm, with_fbjni
from .shims import BESIDE, make_stand_ins, make_system, source

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ...prompt.codec import ChatCodec

CHECK = "java_text"
PACKAGE = "openjdk-17-jdk-headless"
_MAIN = "Replies"
_LAUNCHER = "launcher"
_LIBRARIES = ("libexecutorch.so", "libfbjni.so", "libc++_shared.so")  # as the Java classes ask for them
# What fbjni's native library looks up by name, and what those extend; React Native has more in that folder.
FBJNI_SOURCES = (
    "DestructorThread",
    "HybridClassBase",
    "HybridData",
    "IteratorHelper",
    "MapIteratorHelper",
    "NativeRunnable",
    "ThreadScopeSupport",
)
FBJNI_FOLDER = "ReactAndroid/src/main/java/com/facebook/jni"
_RELEASE = "11"  # of the Java language and classes: ExecuTorch's own are for 8 and, since 1.3, for 11


@dataclass(frozen=True)
class Jdk:
    """A Java development kit.

    Attributes:
        javac: Its compiler.
        libjvm: The library of its virtual machine.
        include: The folder of jni.h.
    """

    javac: Path
    libjvm: Path
    include: Path


def find_jdk() -> Jdk | None:
    """Return the kit of the ``javac`` on the path; None if there is none, or it has no virtual machine."""
    found = shutil.which("javac")
    if found is None:
        return None
    javac = Path(found).resolve()
    home = javac.parent.parent
    jdk = Jdk(javac, home / "lib/server/libjvm.so", home / "include")
    return jdk if jdk.libjvm.is_file() and (jdk.include / "jni.h").is_file() else None


def needs() -> tuple[Need, ...]:
    """Return what Java lacks here; the device proves without it too, but less."""
    return () if find_jdk() else (Need("a Java development kit", apt_command((PACKAGE,)), PACKAGE, optional=True),)


def why_not(library: AndroidLibrary) -> str | None:
    """Return why a library's Java classes can't be tried; None if they can."""
    if library.classes is None:
        return f"{library.text} has no classes.jar with ExecuTorch's Java classes (an .aar has one)"
    if find_jdk() is None:
        return f"no Java development kit is installed ({apt_command((PACKAGE,))})"
    return None


def build(library: AndroidLibrary, progress: Progress) -> Path:
    """Build a folder with all that LlmModule needs, unless it is cached: libraries, shims, classes and the launcher.

    Raises:
        LackingError: A compiler is missing or fails, or React Native's packages can't be fetched.
    """
    library, jdk = with_fbjni(library, progress), find_jdk()
    if not (jdk and library.classes and library.fbjni and library.cxx):
        raise RuntimeError(f"{library.text}: {why_not(library)}")
    fbjni = npm(*parse_npm(data()["java"]["sources"]), progress)
    stubs = {path.relative_to(java_folder()).as_posix(): path for path in sorted(java_folder().rglob("*.java"))}
    files = [library.file, library.fbjni, library.cxx]
    home = build_home(
        "android-java",
        *(path.read_bytes() for path in (*files, library.classes)),
        *stubs,
        *(path.read_bytes() for path in stubs.values()),
        *(archive_sha256(fbjni), toolchain.identity(library.arch)),
        *(source("bionic.c"), source("log.c"), source("jvm.c"), str(jdk.javac)),
        *((Path(__file__).parent / name).read_bytes() for name in ("java.py", "shims.py")),
    )
    if not _is_built(home, files):
        progress.note(f"building what the Java classes of {library.text} need")
        with making(home) as place:
            made = place / "made"
            made.mkdir()
            _make(files, library.classes, jdk, fbjni / FBJNI_FOLDER, made)
            discard(home)
            replace(made, home)
    return home


def _is_built(home: Path, files: Sequence[Path]) -> bool:
    """Whether a folder was built, and the libraries in it are still byte for byte what they were."""
    with suppress(OSError):
        return all((home / n).read_bytes() == f.read_bytes() for n, f in zip(_LIBRARIES, files, strict=True))
    return False


def java_folder() -> Path:
    """Return the folder of the few classes of Android and SoLoader that the library asks for."""
    return Path(__file__).parent / "java"


def _make(files: Sequence[Path], classes: Path, jdk: Jdk, fbjni: Path, out: Path) -> None:
    placed = [out / name for name in _LIBRARIES]
    for file, target in zip(files, placed, strict=True):
        shutil.copyfile(file, target)
    arch = toolchain.machine()
    make_stand_ins(make_system(placed, arch, out), arch, out)
    (out / "scratch/jvm.c").write_text(source("jvm.c"), encoding="utf-8")
    include = ("-I", str(jdk.include), "-I", str(jdk.include / "linux"))
    toolchain.call(("gcc", "-O2", *include, "-o", f"../{_LAUNCHER}", "jvm.c", "-ldl", BESIDE), out / "scratch")
    of_fbjni = [fbjni / f"{name}.java" for name in FBJNI_SOURCES]
    sources = [*map(str, (*sorted(java_folder().rglob("*.java")), *of_fbjni))]
    flags = ("-nowarn", "-encoding", "UTF-8", "-Xlint:-options", "--release", _RELEASE)
    toolchain.call((str(jdk.javac), *flags, "-cp", str(classes), "-d", str(out / "classes"), *sources))
    shutil.copyfile(classes, out / "classes.jar")
    shutil.rmtree(out / "scratch")


@dataclass(frozen=True)
class Asked:
    """One prompt for LlmModule.

    Attributes:
        text: The rendered prompt.
        length: Its ``seqLen``: the tokens that prompt and reply may have together. In ExecuTorch 1.3.1 the reply alone
            may have so many ("Max new tokens resolved" in its log).
    """

    text: str
    length: int


@dataclass(frozen=True)
class Reply:
    """What LlmModule returned.

    Attributes:
        code: ExecuTorch's error, or 0.
        text: The reply.
        stats: Its own statistics, from ``onStats``.
    """

    code: int
    text: str
    stats: str

    @property
    def prompt_tokens(self) -> int | None:
        """How many tokens its tokenizer made of the prompt; None if it doesn't say."""
        try:
            return int(json.loads(self.stats)["prompt_tokens"])
        except (ValueError, KeyError, TypeError):
            return None


def ask(
    home: Path,
    program: Path,
    tokenizer: Path,
    asked: Sequence[Asked],
    work: Path,
    seconds: float,
    env: Mapping[str, str] | None = None,
) -> tuple[Reply, ...]:
    """Ask LlmModule for the greedy replies to all prompts, in one Java process.

    Args:
        home: The folder that ``build`` returned.
        program: The bundle's ``.pte``.
        tokenizer: Its ``tokenizer.json``.
        asked: The prompts.
        work: A scratch folder.
        seconds: The time limit.
        env: Variables for the process.

    Raises:
        ConformanceError: It crashed, or took longer.
        LackingError: No Java development kit is installed.
    """
    folder = work / "java"
    folder.mkdir(parents=True, exist_ok=True)
    texts = [(one.length, one.text.encode()) for one in asked]
    parts = [struct.pack(">i", len(texts)), *(struct.pack(">ii", n, len(text)) + text for n, text in texts)]
    (folder / "asked").write_bytes(b"".join(parts))
    jdk = find_jdk()
    if jdk is None:
        raise LackingError("no Java development kit is installed", hint=apt_command((PACKAGE,)))
    classes = f"{home / 'classes'}:{home / 'classes.jar'}"
    command = (str(home / _LAUNCHER), str(jdk.libjvm), classes, str(home), _MAIN)
    done = processes.run((*command, str(program), str(tokenizer), "asked", "replies"), seconds, folder, env)
    if done.code:
        how = f"crashed (signal {done.signal})" if done.signal else f"ended with exit code {done.code}"
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ConformanceError(
            f"LlmModule {how}: {last}",
            hint="see docs/reference/devices.md for how it differs from the core API, which ran the same program",
        )
    return _read((folder / "replies").read_bytes(), len(asked))


def _read(data: bytes, count: int) -> tuple[Reply, ...]:
    at, found = 0, []

    def text() -> str:
        nonlocal at
        (length,) = struct.unpack_from(">i", data, at)
        at += 4 + length
        return data[at - length : at].decode("utf-8", "replace")

    for _ in range(count):
        (code,) = struct.unpack_from(">i", data, at)
        at += 4
        found.append(Reply(code, text(), text()))
    return tuple(found)


@dataclass(frozen=True)
class _Case:
    golden: Golden
    host: Recorded
    asked: Asked


def java_text(
    library: AndroidLibrary,
    bundle: Bundle,
    goldens: Sequence[Golden],
    host: Sequence[Recorded],
    work: Path,
    seconds: float,
    progress: Progress,
    env: Mapping[str, str] | None = None,
) -> Check | None:
    """Compare LlmModule's replies, through the bundle's own tokenizer, with the exporting machine's.

    LlmModule's text ends with the stop token's text if that is reached; both forms are accepted. A reply that was cut
    short for the record is compared as far as the record goes, since LlmModule's ``seqLen`` isn't the same limit in
    every version. A reply that departs from the record at a tie, as ``prove.conformance`` defines it, isn't a miss.

    Args:
        library: The library under proof; ``why_not`` returns None for it.
        bundle: The bundle.
        goldens: Its goldens.
        host: What the exporting machine recorded.
        work: A scratch folder.
        seconds: The time limit of all prompts.
        progress: Receives notes of what is built, and of how many goldens can't be asked.
        env: Variables for the process.

    Returns:
        The check ``java_text``; None if no golden can be asked.

    Raises:
        ConformanceError: LlmModule crashed, doesn't take the program, or took longer.
        LackingError: Something is missing that the Java classes need.
    """
    from ...prompt.codec import codec_of

    codec = codec_of(bundle)
    bos = codec.decode([codec.bos_id]) if codec.bos_id is not None else ""
    context = bundle.manifest.context
    cases = [case for pair in zip(goldens, host, strict=True) if (case := _case(*pair, bos, codec.bos_id, context))]
    if len(cases) < len(goldens):
        progress.note(f"{len(goldens) - len(cases)} of {len(goldens)} goldens can't be asked through LlmModule")
    if not cases:
        return None
    home = build(library, progress)
    program, tokenizer = bundle.program.resolve(), bundle.file("tokenizer.json").resolve()
    replies = ask(home, program, tokenizer, [case.asked for case in cases], work, seconds, env)
    stops = frozenset(bundle.manifest.stop_ids)
    heard = {id(case.golden): (case, reply) for case, reply in zip(cases, replies, strict=True)}
    pairs = zip(goldens, host, strict=True)
    here = [_as_recorded(*heard[id(golden)], codec, stops) if id(golden) in heard else one for golden, one in pairs]
    misses = []
    share = share_of((rule.weight, rule.activation) for rule in bundle.manifest.recipe.rules)
    for golden, difference in zip(goldens, compare(goldens, host, here, share).differences, strict=True):
        if id(golden) not in heard:
            continue
        if wrong := _wrong(*heard[id(golden)], parted=difference.first_step is not None and not difference.tie):
            misses.append(Miss(golden.prompt.id, wrong))
    return Check(CHECK, len(cases), 1.0, tuple(misses))


def _case(golden: Golden, host: Recorded, bos: str, bos_id: int | None, context: int) -> _Case | None:
    """How a golden is asked; None if LlmModule can't be: there is no room for a reply, or the reply isn't text.

    LlmModule drops text that isn't valid UTF-8, or part of it.
    """
    count, reply = len(golden.prompt_ids), len(host.greedy_ids)
    if not reply or count + reply > context or "\ufffd" in host.greedy_text or "\0" in golden.rendered:
        return None
    text = golden.rendered
    if golden.prompt_ids[0] == bos_id and not text.startswith(bos):
        text = bos + text  # as the tokenizer adds it to plain text; LlmModule is asked to add none
    return _Case(golden, host, Asked(text, count + reply))


def _as_recorded(case: _Case, reply: Reply, codec: ChatCodec, stops: frozenset[int]) -> Recorded:
    """The host's record with LlmModule's reply in it, as token ids: the record's own for as long as the text agrees."""
    words, ended = strip_stop(case.host.greedy_ids, stops)
    said = codec.decode(words)
    if reply.text in (said, codec.decode(case.host.greedy_ids)) or (not ended and reply.text.startswith(said)):
        return case.host
    agreed = 0
    while agreed < len(words) and reply.text.startswith(codec.decode(words[: agreed + 1])):
        agreed += 1
    rest = codec.encode(reply.text[len(codec.decode(words[:agreed])) :])
    return replaced(case.host, greedy_ids=(*words[:agreed], *rest))


def _wrong(case: _Case, reply: Reply, parted: bool) -> str | None:
    asked = len(case.golden.prompt_ids)
    if reply.code:
        return f"LlmModule.generate returned error {reply.code}"
    if reply.prompt_tokens not in (None, asked):
        return f"its tokenizer makes {reply.prompt_tokens} tokens of the prompt, not {asked}"
    return f"{reply.text[:80]!r} instead of {case.host.greedy_text[:80]!r}" if parted else None
