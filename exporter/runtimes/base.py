"""What every runtime offers: facts that need nothing, and three parts that are imported when they are used.

A runtime is one folder beside this module and one row in the package's registry. Its ``PLUGIN`` is a
``RuntimePlugin``. Exporting needs torch (``Exporter``), running a bundle needs only the runtime (``Engine``), and
looking at one needs neither (``Inspector``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import LackingError
from ..util.registry import Registry
from .delegates import Delegate
from .options import RuntimeOption
from .program import ADAPTERS, Artifacts, BuildSpec, Contents, Packaged, Program, Shape

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..bundle.reader import Bundle
    from ..compat.needs import Requirement
    from ..compat.releases import ReleaseFacts
    from ..modeling.kv_cache import CacheSpec
    from ..prove.behaviour import Check
    from ..prove.golden import Golden, Recorded
    from ..prove.runner import LoadedProgram, Runner
    from ..quantize.recipe import Recipe
    from ..util.processes import Finished
    from ..util.progress import Progress
    from ..util.stage_clock import StageClock
    from .golden_runner import GoldenRunner
    from .runs import Job, Run

# The keys that a target may have in a runtime's table beside the runtime's options (``RuntimePlugin.table_keys``).
TABLE_KEYS = frozenset({"recipe", "context", "prefill_lengths"})
# Tables of what is inside a program's files: a heading each, and rows.
Layout = tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]
# Runs the golden runner on a device with these words, after these files were put into the device's folder.
Ask = Callable[[Sequence[str], Sequence[Path]], "Finished"]


class Exporter(ABC):
    """Makes programs. May import torch, transformers and the runtime's own compiler.

    Attributes:
        steps: What ``build`` times on its own: name of each part -> its title, in their order.
    """

    steps: ClassVar[Mapping[str, str]]

    @abstractmethod
    def check(self, config: Any, recipe: Recipe, delegates: Sequence[str], oldest: str | None = None) -> None:
        """Refuse, judging by shapes only, what this runtime would ignore or can't run.

        Args:
            config: transformers' text configuration.
            recipe: How each tensor would be stored.
            delegates: What would run the matrix products.
            oldest: The target's ``oldest_runtime``; refused if nothing is known of so old a release.

        Raises:
            UnsupportedError: The runtime can't run it; the message says what it can run.
        """

    @abstractmethod
    def cache(self, config: Any, shape: Shape, options: Mapping[str, Any]) -> CacheSpec:
        """Return the KV cache of a program of that shape."""

    @abstractmethod
    def build(self, spec: BuildSpec, model: Any, work: Path, clock: StageClock) -> Program:
        """Make the program in ``work``. ``model``, transformers' in float32, is used up."""

    def examine(self, program: Program) -> Program:
        """Add what only running the program tells; called after the float model is freed, to save its memory."""
        return program

    def check_release(self, program: Program, oldest: str | None) -> None:  # noqa: B027 (refuses nothing by default)
        """Refuse a program that release ``oldest`` can't load.

        Args:
            program: The program.
            oldest: The target's ``oldest_runtime``; None, if the target names none, refuses nothing.

        Raises:
            UnsupportedError: The release lacks an operator, a backend or a delegate's node; the message names them.
        """

    def companions(self, program: Program, options: Mapping[str, Any]) -> Mapping[str, Path]:
        """Return files that go into the bundle beside the program because an option asks for them, by name."""
        return {}

    @abstractmethod
    def package(self, program: Program, contents: Contents, out: Path, progress: Progress) -> Packaged:
        """Write the files that ship into the folder ``out``."""


class Engine(ABC):
    """Runs programs. Needs the runtime, but nothing that only exporting needs."""

    @abstractmethod
    def preload(self) -> None:
        """Import what ``open`` needs, so that opening can be timed on its own."""

    @abstractmethod
    def load(self, program: Path, threads: int | None = None) -> LoadedProgram:
        """Load a program: its methods, with named tensors in and out.

        Args:
            program: Its entry; further files lie beside it.
            threads: Threads to use; None for ``host_threads``.

        Raises:
            ConformanceError: The runtime refuses it.
            LackingError: The runtime isn't installed.
        """

    @abstractmethod
    def open(self, program: Path, threads: int | None = None, adapters: Sequence[Path] = ()) -> Runner:
        """Load a text decoder; as ``load``.

        Args:
            program: Its entry; further files lie beside it.
            threads: Threads to use; None for ``host_threads``.
            adapters: Files of adapters to apply.

        Raises:
            UnsupportedError: Adapters were named, and this runtime applies none.
        """

    def measure(self, job: Job, runs: int, progress: Progress) -> list[Run] | None:
        """Measure the engine that apps call; return None if that is what ``open`` gives."""
        return None

    def checks(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, progress: Progress
    ) -> tuple[Check, ...]:
        """Prove the bundle in what apps call the runtime through, if that is more than ``open`` runs."""
        return ()

    def device_checks(
        self, bundle: Bundle, goldens: Sequence[Golden], recorded: Sequence[Recorded], work: Path, ask: Ask
    ) -> tuple[Check, ...]:
        """Prove the bundle as ``checks`` does, on a device whose golden runner has run the goldens.

        Args:
            bundle: The bundle.
            goldens: All of its goldens.
            recorded: What the golden runner gave on the device.
            work: A scratch folder on this machine.
            ask: Runs the golden runner on the device.
        """
        return ()


class Inspector(ABC):
    """Looks at programs. Needs no torch and no runtime."""

    @abstractmethod
    def needs(self, bundle: Bundle) -> set[Requirement]:
        """Return what a bundle's program requires of a runtime, read from its own bytes.

        Raises:
            ConformanceError: The program is damaged.
            LackingError: A reader for its format isn't installed.
        """

    @abstractmethod
    def same_program(self, proven: Path, sealed: Path) -> None:
        """Check that the parts of two files that run are the same, byte for byte.

        Raises:
            ConformanceError: They differ.
        """

    def layout(self, program: Path) -> Layout:
        """Return what is inside the program's file beyond what the manifest says."""
        return ()

    def sections(self, bundle: Bundle) -> Mapping[str, tuple[int, str]]:
        """Return the parts of the program's file that a comparison tells apart: name -> bytes and SHA-256.

        Raises:
            LackingError: A reader for its format isn't installed.
        """
        return {}

    def golden_program(self, bundle: Bundle, work: Path) -> Artifacts:
        """Return the program in the form that a golden runner takes; ``work`` is a scratch folder.

        Adapters aren't among its files: a golden runs without one.
        """
        entry = bundle.program
        others = (name for name in bundle.manifest.program_files if not name.startswith(ADAPTERS))
        return Artifacts(entry.name, {entry.name: entry, **{name: bundle.file(name) for name in others}})

    def bench_program(self, bundle: Bundle, work: Path) -> Artifacts:
        """Return the program in the form that a golden runner measures; ``work`` is a scratch folder."""
        return self.golden_program(bundle, work)

    def oldest_loading(self, program: Path, manifest: Manifest) -> str | None:
        """Return the oldest known release with all that a bundle's program needs; None if no known release has it."""
        return None


class RuntimePlugin(ABC):
    """A runtime that bundles can be made for: facts about it, and its parts.

    Attributes:
        name: What ``--runtime`` takes.
        title: Its name in sentences: what an app's developer calls it.
        program_name: Name of the program's entry in a bundle.
        distribution: The distribution on PyPI whose version is the runtime's own.
        distributions: All distributions that are installed for this runtime alone.
        export_only: Those of ``distributions`` that running a bundle doesn't need.
        modules: Top-level modules that its extra brings, for the hint if one is missing.
        libraries: Distributions whose versions go into the manifest.
        platforms: The platforms that it is released for, as ``system-architecture``.
        delegates: The delegates that it has.
        options: Its own options.
        table_keys: Which of ``TABLE_KEYS`` a target may set in a table of the runtime's name, beside its options.
        embeds_manifest: Whether the program's file holds the manifest, so that it is packed again once that is final.
        has_cost_model: Whether ``gemcut plan``'s estimates of memory and disk were measured with it, so that an export
            is refused if they say that it can't succeed.
        weight_cache: Whether what apps call writes the repacked weights to a file at the first start, and maps that
            file from then on; otherwise each start repacks them into the process's own memory.
        reuses_programs: Whether a program that an earlier export built of equal inputs and versions may be taken.
        android_library: Whether ``android-lib`` has golden runners for the Android library that apps ship it in.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    program_name: ClassVar[str]
    distribution: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    export_only: ClassVar[tuple[str, ...]] = ()
    modules: ClassVar[frozenset[str]] = frozenset()
    libraries: ClassVar[tuple[str, ...]] = ()
    platforms: ClassVar[frozenset[str]]
    delegates: ClassVar[Registry[Any]]
    options: ClassVar[tuple[RuntimeOption, ...]] = ()
    table_keys: ClassVar[tuple[str, ...]] = ()
    embeds_manifest: ClassVar[bool] = False
    has_cost_model: ClassVar[bool] = False
    weight_cache: ClassVar[bool] = False
    reuses_programs: ClassVar[bool] = False
    android_library: ClassVar[bool] = False

    @property
    @abstractmethod
    def exporter(self) -> Exporter:
        """The part that makes programs."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The part that runs programs."""

    @property
    @abstractmethod
    def inspector(self) -> Inspector:
        """The part that looks at programs."""

    @property
    def releases(self) -> ReleaseFacts:
        """What is known about the runtime's releases."""
        from ..compat.releases import ReleaseFacts

        return ReleaseFacts()

    @property
    def golden_runner(self) -> GoldenRunner | None:
        """What runs goldens on a device; None if there is none."""
        return None

    @property
    def extra(self) -> str:
        """The extra of Gemcut that installs it; a plugin from another distribution brings itself."""
        return self.name

    @property
    def install(self) -> str:
        """The command that installs it."""
        from ..util.packages import install_command

        return install_command(self.extra)

    def version(self) -> str:
        """Return the installed version.

        Raises:
            LackingError: It isn't installed, or is a release that Gemcut doesn't support.
        """
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError as error:
            raise LackingError(f"{self.distribution} isn't installed", hint=self.install) from error

    def run_obstacle(self, cpuinfo: str | None = None, machine: str | None = None) -> str:
        """Return what a processor lacks for running it; empty if it lacks nothing.

        Args:
            cpuinfo: The text of ``/proc/cpuinfo``; None to read this machine's.
            machine: What ``platform.machine()`` returns; None for this machine.
        """
        return ""

    def export_obstacle(self) -> str:
        """Return why this platform can't export to it, as a sentence; empty if it can."""
        return ""

    def check_options(self, asked: Mapping[str, bool], prefill_lengths: Sequence[int]) -> None:  # noqa: B027
        """Refuse options that exclude each other; nothing by default.

        Args:
            asked: The runtime's own options that the user asked for, by name.
            prefill_lengths: The prefill lengths that the user asked for.

        Raises:
            UsageError: Two of them exclude each other.
        """

    def delegate(self, name: str) -> Delegate:
        """Return the delegate called ``name``.

        Raises:
            UnsupportedError: This runtime has no delegate of that name; the message names the nearest.
        """
        found: Delegate = self.delegates.get(name)
        return found


__all__ = [
    "Artifacts",
    "Ask",
    "BuildSpec",
    "Contents",
    "Delegate",
    "Engine",
    "Exporter",
    "Inspector",
    "Job",
    "Layout",
    "Packaged",
    "Program",
    "Run",
    "RuntimeOption",
    "RuntimePlugin",
    "Shape",
]
