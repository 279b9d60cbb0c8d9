"""How each stage's product is kept: JSON for dataclasses, the bundle's own files for arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from ...bundle.staging import transfer
from ...prompt.chats import Prompt
from ...prove.gate import judge
from ...prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_recorded
from ...prove.golden_generation import LogitsFile
from ...runtimes.base import Lowered
from ..stages import Goldens
from .journal import Parts

if TYPE_CHECKING:
    from ...prove.golden import Golden
    from ...prove.proof import Proof
    from ...quantize.recipe import Gate
    from ..prompt import CompiledPrompt
    from ..stages import Built

T = TypeVar("T")
_LOGITS = "logits"


class Plain(Generic[T]):
    """Anything that JSON can hold: numbers, texts, dataclasses of them, and tuples and dicts of those.

    Args:
        kind: its type, such as ``dict[str, float]``.
    """

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def save(self, product: T) -> Parts:
        """See ``kept.Form``."""
        return Parts(_plain(product))

    def load(self, value: Any, folder: Path) -> T:
        """See ``kept.Form``."""
        return self._adapter.validate_python(value)


class OfReference:
    """``pipeline.stages.Goldens``: its files, the float model's logits, and the prompts in the order of their keys."""

    def save(self, product: Goldens) -> Parts:
        """See ``kept.Form``."""
        logits = product.logits()
        value = {"prompts": _plain(product.prompts), "vocab_size": logits.vocab_size}
        rows = {f"{_LOGITS}/{path.name}": path for path in sorted(logits.folder.iterdir())}
        return Parts(value, {**product.files, **rows})

    def load(self, value: Any, folder: Path) -> Goldens:
        """See ``kept.Form``; the logits are read where they lie."""
        prompts: tuple[Prompt, ...] = TypeAdapter(tuple[Prompt, ...]).validate_python(value["prompts"])
        files = {name: (folder / name).read_bytes() for name in GOLDENS}
        logits = LogitsFile.of(folder / _LOGITS, value["vocab_size"], load_goldens(files))
        return Goldens(files, logits.open, prompts)


class OfPrompt:
    """``pipeline.prompt.CompiledPrompt``."""

    def save(self, product: CompiledPrompt) -> Parts:
        """See ``kept.Form``."""
        return Parts({"notes": product.notes}, {"prompt.json": product.data})

    def load(self, value: Any, folder: Path) -> CompiledPrompt:
        """See ``kept.Form``."""
        from ..prompt import CompiledPrompt

        return CompiledPrompt((folder / "prompt.json").read_bytes(), tuple(value["notes"]))


class OfBuild:
    """``pipeline.stages.Built``: a program before it is packed, and what is known of it.

    Args:
        work: where a program that is read is put, for packing may move it.
    """

    def __init__(self, work: Path) -> None:
        self._work = work

    def save(self, product: Built) -> Parts:
        """See ``kept.Form``."""
        lowered = product.lowered
        value = {"parameters": product.parameters, "lowered": {**_plain(lowered), "program": lowered.program.name}}
        return Parts(value, {lowered.program.name: lowered.program})

    def load(self, value: Any, folder: Path) -> Built:
        """See ``kept.Form``."""
        from ..stages import Built

        lowered: Lowered = TypeAdapter(Lowered).validate_python(value["lowered"])
        program = self._work / lowered.program.name
        transfer(folder / program.name, program, "link")
        return Built(dataclasses.replace(lowered, program=program), value["parameters"])


class OfExamined:
    """The same ``runtimes.base.Lowered`` with what running it told.

    Args:
        lowered: as it was before; its program is the one that counts.
    """

    def __init__(self, lowered: Lowered) -> None:
        self._program = lowered.program

    def save(self, product: Lowered) -> Parts:
        """See ``kept.Form``."""
        return Parts({**_plain(product), "program": product.program.name})

    def load(self, value: Any, folder: Path) -> Lowered:
        """See ``kept.Form``."""
        return TypeAdapter(Lowered).validate_python({**value, "program": self._program})


class OfProof:
    """``prove.proof.Proof``: what was recorded and measured; the gate is asked again.

    Args:
        goldens: the bundle's.
        gate: its limits.
    """

    def __init__(self, goldens: Sequence[Golden], gate: Gate) -> None:
        self._goldens = tuple(goldens)
        self._gate = gate

    def save(self, product: Proof) -> Parts:
        """See ``kept.Form``."""
        value = {"fidelity": _plain(product.fidelity), "behaviour": _plain(product.behaviour)}
        return Parts(value, save_recorded(product.recorded))

    def load(self, value: Any, folder: Path) -> Proof:
        """See ``kept.Form``."""
        from ...prove.behaviour import Behaviour
        from ...prove.fidelity import Fidelity
        from ...prove.proof import Proof

        recorded = load_recorded({name: (folder / name).read_bytes() for name in RECORDED})
        fidelity: Fidelity = TypeAdapter(Fidelity).validate_python(value["fidelity"])
        behaviour: Behaviour = TypeAdapter(Behaviour).validate_python(value["behaviour"])
        return Proof(self._goldens, recorded, fidelity, behaviour, judge(self._gate, fidelity, behaviour))


def _plain(product: Any) -> Any:
    """Dataclasses as dicts, whatever holds them; all else as it is. Not-a-number and infinity stay what they are."""
    if dataclasses.is_dataclass(product) and not isinstance(product, type):
        return {field.name: _plain(getattr(product, field.name)) for field in dataclasses.fields(product)}
    if isinstance(product, tuple | list):
        return [_plain(one) for one in product]
    if isinstance(product, dict):
        return {key: _plain(one) for key, one in product.items()}
    return str(product) if isinstance(product, Path) else product
