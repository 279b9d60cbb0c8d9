"""How each stage's product is kept: JSON for dataclasses, the bundle's own files for arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from ...bundle.manifest import CalibrationRecord
from ...bundle.staging import transfer
from ...devices.replay import DeviceVerdict
from ...prompt.chats import Prompt
from ...prove.gate import judge
from ...prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_recorded
from ...prove.golden_generation import LogitsFile
from ...runtimes.program import Artifacts, Program
from ..products import Built, CompiledPrompt, Goldens
from .journal import Parts

if TYPE_CHECKING:
    from ...prove.golden import Golden
    from ...prove.proof import Proof
    from ...quantize.recipe import Gate

T = TypeVar("T")
_LOGITS = "logits"


class Plain(Generic[T]):
    """Anything that JSON can hold: numbers, texts, dataclasses of them, and tuples and dicts of those.

    Args:
        kind: The product's type, such as ``dict[str, float]``.
    """

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def save(self, product: T) -> Parts:
        """See ``journal.Serializer``."""
        return Parts(_plain(product))

    def load(self, value: Any, folder: Path) -> T:
        """See ``journal.Serializer``."""
        return self._adapter.validate_python(value)


class SpeedSerializer(Plain[dict[str, float]]):
    """Speeds on this host, by name."""

    def __init__(self) -> None:
        super().__init__(dict[str, float])


class VerdictsSerializer(Plain[tuple[DeviceVerdict, ...]]):
    """What a bundle did on a device."""

    def __init__(self) -> None:
        super().__init__(tuple[DeviceVerdict, ...])


class GoldensSerializer:
    """``pipeline.products.Goldens``: its files, the float model's logits, and the prompts in their order."""

    def save(self, product: Goldens) -> Parts:
        """See ``journal.Serializer``."""
        logits = product.logits()
        value = {"prompts": _plain(product.prompts), "vocab_size": logits.vocab_size}
        rows = {f"{_LOGITS}/{path.name}": path for path in sorted(logits.folder.iterdir())}
        return Parts(value, {**product.files, **rows})

    def load(self, value: Any, folder: Path) -> Goldens:
        """See ``journal.Serializer``; the logits are read where they are."""
        prompts: tuple[Prompt, ...] = TypeAdapter(tuple[Prompt, ...]).validate_python(value["prompts"])
        files = {name: (folder / name).read_bytes() for name in GOLDENS}
        records = tuple(load_goldens(files))
        logits = LogitsFile.of(folder / _LOGITS, value["vocab_size"], records)
        return Goldens(records, files, logits.open, prompts)


class PromptSerializer:
    """``pipeline.products.CompiledPrompt``."""

    def save(self, product: CompiledPrompt) -> Parts:
        """See ``journal.Serializer``."""
        return Parts({"notes": product.notes}, {"prompt.json": product.data})

    def load(self, value: Any, folder: Path) -> CompiledPrompt:
        """See ``journal.Serializer``."""
        return CompiledPrompt((folder / "prompt.json").read_bytes(), tuple(value["notes"]))


class BuiltSerializer:
    """``pipeline.products.Built``: a program before it is packed, and what is known about it.

    Args:
        work: Where a program's files are put when it is read, since packing may move them.
    """

    def __init__(self, work: Path) -> None:
        self._work = work

    def save(self, product: Built) -> Parts:
        """See ``journal.Serializer``."""
        record = product.calibration and product.calibration.model_dump(mode="json")
        value = {
            "parameters": product.parameters,
            "program": _described(product.program),
            "calibration": record,
        }
        return Parts(value, product.program.artifacts.members())

    def load(self, value: Any, folder: Path) -> Built:
        """See ``journal.Serializer``."""
        named = value["program"]["artifacts"]
        for name in (*named["files"].values(), *named["adapters"].values()):
            (self._work / name).parent.mkdir(parents=True, exist_ok=True)
            transfer(folder / name, self._work / name, "link")
        files = {name: self._work / place for name, place in named["files"].items()}
        adapters = {name: self._work / place for name, place in named["adapters"].items()}
        record = value["calibration"] and CalibrationRecord.model_validate(value["calibration"])
        program = _program(value["program"], Artifacts(named["entry"], files, adapters))
        return Built(program, value["parameters"], record)


class ExaminedSerializer:
    """The same ``Program``, with what running it revealed.

    Args:
        program: The program before it was examined; its files are used.
    """

    def __init__(self, program: Program) -> None:
        self._artifacts = program.artifacts

    def save(self, product: Program) -> Parts:
        """See ``journal.Serializer``."""
        return Parts(_described(product))

    def load(self, value: Any, folder: Path) -> Program:
        """See ``journal.Serializer``."""
        return _program(value, self._artifacts)


def _described(program: Program) -> dict[str, Any]:
    """A program for JSON, with the names of its files in place of the files."""
    artifacts = program.artifacts
    names = {path: name for name, path in artifacts.members().items()}
    return {
        **_plain(program),
        "artifacts": {
            "entry": artifacts.entry,
            "files": {name: names[path] for name, path in artifacts.files.items()},
            "adapters": {name: names[path] for name, path in artifacts.adapters.items()},
        },
    }


def _program(value: Any, artifacts: Artifacts) -> Program:
    placed = dataclasses.asdict(artifacts)
    program: Program = TypeAdapter(Program).validate_python({**value, "artifacts": placed})
    return program


class ProofSerializer:
    """``prove.proof.Proof``: what was recorded and measured; the gate judges it again.

    Args:
        goldens: The bundle's goldens.
        gate: The gate's limits.
    """

    def __init__(self, goldens: Sequence[Golden], gate: Gate) -> None:
        self._goldens = tuple(goldens)
        self._gate = gate

    def save(self, product: Proof) -> Parts:
        """See ``journal.Serializer``."""
        value = {"fidelity": _plain(product.fidelity), "behaviour": _plain(product.behaviour)}
        return Parts(value, save_recorded(product.recorded))

    def load(self, value: Any, folder: Path) -> Proof:
        """See ``journal.Serializer``."""
        from ...prove.behaviour import Behaviour
        from ...prove.fidelity import Fidelity
        from ...prove.proof import Proof

        recorded = load_recorded({name: (folder / name).read_bytes() for name in RECORDED})
        fidelity: Fidelity = TypeAdapter(Fidelity).validate_python(value["fidelity"])
        behaviour: Behaviour = TypeAdapter(Behaviour).validate_python(value["behaviour"])
        return Proof(self._goldens, recorded, fidelity, behaviour, judge(self._gate, fidelity, behaviour))


def _plain(product: Any) -> Any:
    """Dataclasses as dicts, at any depth; everything else, NaN and infinity included, as it is."""
    if dataclasses.is_dataclass(product) and not isinstance(product, type):
        return {field.name: _plain(getattr(product, field.name)) for field in dataclasses.fields(product)}
    if isinstance(product, tuple | list):
        return [_plain(one) for one in product]
    if isinstance(product, dict):
        return {key: _plain(one) for key, one in product.items()}
    return str(product) if isinstance(product, Path) else product
