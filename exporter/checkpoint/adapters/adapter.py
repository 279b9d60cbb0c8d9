"""Opening of a PEFT adapter for its base model: all that can be wrong with it, before a weight is merged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointError, UnsupportedError, nearest
from ..formats import FLOATS
from ..hub import safe_name
from ..tensors import TensorIndex, read_header
from .adapter_config import FILE, FILES, PLAIN, WEIGHTS, AdapterConfig, read_config
from .merging import Factors, Update, merge_embedding, merge_linear
from .naming import Named, read_name

if TYPE_CHECKING:
    import torch

    from ...util.file_tensors import Scratch

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_PICKLE = "adapter_model.bin"
_OTHER = "the adapter is for another base model, or its file is damaged"
_BLOCK = 4096  # rows that are looked at in one go


@dataclass(frozen=True)
class Base:
    """The base model, as an adapter is checked against it.

    Attributes:
        shapes: Shapes of the text model's parameters by transformers' names, without a tied head.
        tied: Whether the head is the embedding.
        spare: Names of parameters that the checkpoint may have and the model doesn't use.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: bool
    spare: re.Pattern[str] | None = None


@dataclass(frozen=True, eq=False)
class Adapter:
    """An opened adapter: all of it is checked against its base, and no weight is merged yet.

    Attributes:
        path: The adapter's folder.
        name: The folder's name, safe as a file's.
        config: What its adapter_config.json says.
        tensors: Its tensors.
        updates: What it does to each parameter, by transformers' names.
        untied: Whether a head that config.json ties to the embedding is separate now.
        rows: The embedding's rows, if tokens were added for the fine-tune; None if it has the base model's.
        notes: What the user should know.
    """

    path: Path
    name: str
    config: AdapterConfig
    tensors: TensorIndex
    updates: Mapping[str, Update]
    untied: bool = False
    rows: int | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each of its files, by name; computed when first asked for."""
        found = {}
        for name in FILES:
            if not (self.path / name).is_file():
                continue
            with (self.path / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def replaced(self, name: str) -> str | None:
        """Return the adapter's tensor that takes a parameter's place as it is; None if anything is computed."""
        update = self.updates.get(name)
        computed = update is None or update.a is not None or update.added is not None
        return None if computed or update is None else update.replacement

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a parameter that the adapter holds whole; None if it is the base model's."""
        update = self.updates.get(name)
        whole = None if update is None else update.replacement
        return None if whole is None else self.tensors.shape(whole)

    def merged(self, name: str, tensor: torch.Tensor, scratch: Scratch) -> torch.Tensor:
        """Return a parameter as the fine-tune has it.

        Args:
            name: The name in transformers' text model of a parameter that the adapter changes.
            tensor: The base model's, whole, in any float dtype; it is not changed.
            scratch: Takes the merged one.

        Returns:
            The parameter, float32 and of the same shape.
        """
        import torch

        update = self.updates[name]
        if update.replacement is not None:
            tensor = self.tensors.mapped(update.replacement)
        out = scratch.empty(tensor.shape, torch.float32)
        if update.a is None or update.b is None:
            out.copy_(tensor)
            if update.added is not None:
                out += self._float(update.added) * update.scale
            return out
        a, b = self._float(update.a), self._float(update.b)
        magnitude = None if update.magnitude is None else self._float(update.magnitude)
        if update.embedding:
            merge_embedding(tensor, Factors(b.T, a.T, update.scale), magnitude, out)
        else:
            merge_linear(tensor, Factors(a, b, update.scale), magnitude, out)
        return out

    def _float(self, name: str) -> torch.Tensor:
        return self.tensors.get(name).float()


def open_adapter(folder: Path, base: Base) -> Adapter:
    """Open the adapter in ``folder`` and check all of it, values included.

    Args:
        folder: The folder of a PEFT adapter.
        base: The model that it is for.

    Raises:
        CheckpointError: A file is missing or damaged; a tensor matches nothing in the base model, is of another shape
            or rank, lacks its pair, or holds NaN or infinity. The message names it.
        UnsupportedError: The weights are pickled, or this kind of adapter can't be merged; the message names the key
            or the tensor.
    """
    if not folder.is_dir():
        hint = "pass the folder of a PEFT adapter to --adapter; from a hub: hf download ORG/NAME --local-dir DIR"
        raise CheckpointError(f"no such directory: {folder}", hint=hint)
    config = read_config(folder)
    tensors = _open_weights(folder)
    known = [_named(name, tensors, base) for name in tensors.names() if not _is_copy(name, tensors)]
    used = [named for named in known if named.parameter in base.shapes or (base.tied and named.parameter == HEAD)]
    if not used:
        raise CheckpointError(f"{folder / WEIGHTS} holds no tensor of the text model", hint=_OTHER)
    updates = {}
    for parameter in dict.fromkeys(str(named.parameter) for named in used):
        updates[parameter] = _update([named for named in used if named.parameter == parameter], config)
    shapes = {HEAD: base.shapes[EMBEDDING], **base.shapes} if base.tied else dict(base.shapes)
    rows = _resized(updates, tensors, shapes, base.tied)
    if rows is not None:
        shapes |= {name: (rows, shapes[name][1]) for name in (EMBEDDING, HEAD)}
    for parameter, update in updates.items():
        _check_shapes(parameter, update, tensors, shapes[parameter], config, used)
    for named in used:
        _check_finite(named.tensor, tensors)
    untied = base.tied and _untied(updates, config, tensors)
    if rows is not None and untied and HEAD not in updates:
        raise _no_head(rows, base.shapes[EMBEDDING][0])
    if base.tied and not untied:
        updates.pop(HEAD, None)
    how = None if not base.tied else "untied" if untied else "tied" if EMBEDDING in updates else None
    notes = _notes(config, len(known) - len(used), how, folder)
    if rows is not None:
        notes += (f"the adapter's embedding has {rows} rows, the base model's {base.shapes[EMBEDDING][0]}",)
    return Adapter(folder, safe_name(folder.resolve().name), config, tensors, updates, untied, rows, notes)


def _open_weights(folder: Path) -> TensorIndex:
    path = folder / WEIGHTS
    if path.is_file():
        return TensorIndex(read_header(path), (path,))
    if (folder / _PICKLE).is_file():
        raise UnsupportedError(
            f"{folder / _PICKLE} is pickle, which can run code when opened; Gemcut reads safetensors only",
            hint="if you trust its author, load it and save it again with PEFT, which writes safetensors",
        )
    raise CheckpointError(f"{folder} has no {WEIGHTS}", hint="fetch the adapter again")


def _is_copy(name: str, tensors: TensorIndex) -> bool:
    """Whether a tensor is one that PEFT saves beside the trained one, when it saves a resized embedding's wrapper."""
    twin = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
    return ".original_module." in name or (twin != name and twin in tensors)


def _named(name: str, tensors: TensorIndex, base: Base) -> Named:
    """What a tensor is; raises if the base model has nothing for it."""
    found = read_name(name)
    if found is None:
        raise CheckpointError(
            f"{WEIGHTS}: tensor '{name}' is not one that PEFT's LoRA writes", hint="use an adapter that PEFT saved"
        )
    if tensors.dtype(name) not in FLOATS:
        raise UnsupportedError(f"{WEIGHTS}: tensor '{name}' is {tensors.dtype(name)}, not a float")
    parameter = found.parameter
    if parameter is None or parameter in base.shapes or (base.tied and parameter == HEAD):
        return found
    if base.spare is not None and base.spare.fullmatch(parameter):
        return replace(found, parameter=None)
    if found.part == "bias" or parameter.endswith(".bias"):
        raise CheckpointError(
            f"{WEIGHTS}: tensor '{name}': the base model has no '{parameter}' to add it to",
            hint="Train without biases (bias='none', lora_bias=False), or name the base that it was trained on.",
        )
    close = nearest(parameter, base.shapes).split(" Known:")[0]
    raise CheckpointError(f"{WEIGHTS}: tensor '{name}' matches nothing: no '{parameter}'; {close}", hint=_OTHER)


def _update(parts: list[Named], config: AdapterConfig) -> Update:
    """The tensors of one parameter, put together; raises if one of a pair is missing."""
    by_part = {named.part: named for named in parts}
    if len(by_part) < len(parts):
        twice = next(named for named in parts if by_part[named.part] is not named)
        message = f"{WEIGHTS}: '{twice.tensor}' and '{by_part[twice.part].tensor}' are for the same parameter"
        raise CheckpointError(message, hint=_OTHER)
    a, b, magnitude = by_part.get("a"), by_part.get("b"), by_part.get("magnitude")
    if (a is None) != (b is None):
        there, lacking = (a, "B") if a is not None else (b, "A")
        raise CheckpointError(f"{WEIGHTS}: '{there.tensor}' has no lora_{lacking} beside it", hint=_OTHER)  # type: ignore[union-attr]
    if magnitude is not None and (a is None or not config.dora):
        why = "use_dora is false" if a is not None else "lora_A and lora_B are missing"
        raise CheckpointError(f"{WEIGHTS}: '{magnitude.tensor}' is DoRA's, but {why}", hint=_OTHER)
    if config.dora and a is not None and magnitude is None:
        message = f"{WEIGHTS}: '{a.tensor}' has no lora_magnitude_vector beside it, and use_dora is true"
        raise CheckpointError(message, hint=_OTHER)
    whole, added = by_part.get("whole"), by_part.get("bias")
    scaled = a or added
    return Update(
        replacement=whole.tensor if whole else None,
        a=a.tensor if a else None,
        b=b.tensor if b else None,
        scale=config.scale_of(scaled.module) if scaled else 1.0,
        magnitude=magnitude.tensor if magnitude else None,
        embedding=bool(a and a.embedding),
        added=added.tensor if added else None,
    )


def _untied(updates: Mapping[str, Update], config: AdapterConfig, tensors: TensorIndex) -> bool:
    """Whether the adapter gives a model whose head is its embedding a head apart, as PEFT's merge does then.

    Raises:
        UnsupportedError: The head is adapted by factors, which PEFT's merge adds to the embedding as well.
    """
    import torch

    head, embedding = updates.get(HEAD), updates.get(EMBEDDING)
    if head is not None and head.a is not None:
        raise UnsupportedError(
            f"{WEIGHTS}: '{head.a}' adapts the head, which is this model's embedding: merged, it would change both",
            hint='Train on a base with "tie_word_embeddings": false and a head of its own, and name that as MODEL.',
        )
    mine = embedding.replacement if embedding else None
    if head is not None and head.replacement is not None:
        return mine is None or not torch.equal(tensors.get(mine), tensors.get(head.replacement))
    return mine is not None and _was_saved(mine, config) and not config.tying


def _resized(
    updates: Mapping[str, Update], tensors: TensorIndex, shapes: Mapping[str, tuple[int, ...]], tied: bool
) -> int | None:
    """The embedding's rows in a fine-tune that tokens were added for; PEFT saves embedding and head whole then.

    None if they are the base model's, or if what is saved can't be of one model: shapes are checked afterwards.

    Raises:
        CheckpointError: The head's new rows weren't saved.
    """
    found: dict[str, int] = {}
    for name in (EMBEDDING, HEAD):
        whole = updates[name].replacement if name in updates else None
        if whole is not None and len(tensors.shape(whole)) == 2 and tensors.shape(whole)[1] == shapes[name][1]:
            found[name] = tensors.shape(whole)[0]
    rows, base_rows = found.get(EMBEDDING), shapes[EMBEDDING][0]
    if rows in (None, base_rows) or found.get(HEAD, rows) != rows:
        return None
    if not tied and HEAD not in found:
        raise _no_head(found[EMBEDDING], base_rows)
    return rows


def _no_head(rows: int, base_rows: int) -> CheckpointError:
    return CheckpointError(
        f"{WEIGHTS}: the embedding has {rows} rows, the base model's {base_rows}, and no head goes with it",
        hint="Save the adapter with save_embedding_layers=True and the head among modules_to_save. " + PLAIN,
    )


def _was_saved(tensor: str, config: AdapterConfig) -> bool:
    module = tensor.rpartition(".")[0].removesuffix(".default").removesuffix(".modules_to_save")
    return any(module.endswith(name) for name in config.saved)


def _check_shapes(
    parameter: str,
    update: Update,
    tensors: TensorIndex,
    shape: tuple[int, ...],
    config: AdapterConfig,
    used: list[Named],
) -> None:
    """Raises if a tensor isn't of the shape that the base parameter and the rank make it."""

    def check(tensor: str | None, wanted: tuple[int, ...], why: str) -> None:
        if tensor is not None and tensors.shape(tensor) != wanted:
            raise CheckpointError(
                f"{WEIGHTS}: tensor '{tensor}' is {list(tensors.shape(tensor))}, not {list(wanted)}: {why}",
                hint=_base_hint(config),
            )

    check(update.replacement, shape, f"the base model's '{parameter}' is {list(shape)}")
    check(update.added, shape, f"the base model's '{parameter}' is {list(shape)}")
    if update.a is None:
        return
    if len(shape) != 2:
        message = f"{WEIGHTS}: tensor '{update.a}': the base model's '{parameter}' is not a matrix but {list(shape)}"
        raise CheckpointError(message, hint=_base_hint(config))
    module = next(named.module for named in used if named.tensor == update.a)
    rank, (outer, inner) = config.rank_of(module), shape
    if update.embedding:
        outer, inner = inner, outer
    why = f"'{parameter}' is {list(shape)}, and {FILE} makes the rank {rank}"
    check(update.a, (rank, inner), why)
    check(update.b, (outer, rank), why)
    check(update.magnitude, (outer,), why)


def _base_hint(config: AdapterConfig) -> str:
    return f"{_OTHER}; it names '{config.base}' as its base" if config.base else _OTHER


def _check_finite(name: str, tensors: TensorIndex) -> None:
    import torch

    values = tensors.get(name)
    for first in range(0, len(values), _BLOCK):
        block = values[first : first + _BLOCK]
        if not all(bool(torch.isfinite(end)) for end in torch.aminmax(block.float())):
            raise CheckpointError(
                f"{WEIGHTS}: tensor '{name}' holds NaN or infinity",
                hint="the training run diverged or the file is damaged: use another checkpoint of it",
            )


def _notes(config: AdapterConfig, left_out: int, head: str | None, folder: Path) -> tuple[str, ...]:
    named = f", which names {config.base_name} as its base," if config.base_name else ""
    notes = [f"the {config.kind} adapter {safe_name(folder.resolve().name)}{named} is merged in"]
    if left_out:
        notes.append(f"{left_out} of the adapter's tensors are of parts that the text model doesn't have: left out")
    if head == "tied":
        notes.append("the adapter changes the embedding, and with it the head that is tied to it, as PEFT's merge does")
    if head == "untied":
        notes.append("the adapter was trained with a head apart from the embedding: the bundle holds both")
    return tuple(notes)
