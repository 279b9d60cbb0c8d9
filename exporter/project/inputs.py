"""What a bundle would be made from now: everything that gemcut.lock records, found without torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bundle.reader import open_bundle
from ..checkpoint.hub import OWN_PROMPTS
from ..pipeline.budget_limits import baseline_places
from ..pipeline.plan import recipe_of
from ..quantize.recipe import load_recipe
from ..runtimes import find_runtime
from ..target import load_target
from ..util.packages import public_version
from .checkpoint_files import file_hashes, resolve
from .entries import CALIBRATION_WORDS, TEMPLATE_WORDS, BundleEntry
from .hash_cache import Hashes
from .lock import Inputs, LockedBundle, Option, manifest_sha256

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..target import Target

GEMCUT = "gemcut"
# Left out of a target's hash: explanations, what only gemcut plan reads, and the recipe, which has its own hash.
_ASIDE = ("path", "description", "choices", "memory_bandwidth", "compute", "recipe")


@dataclasses.dataclass(frozen=True)
class Found:
    """The inputs of one entry.

    Attributes:
        inputs: What each bundle is made from, by runtime.
        revision: The commit of a hub id; None if it isn't one, or isn't known.
        notes: What couldn't be found out.
    """

    inputs: dict[str, Inputs]
    revision: str | None = None
    notes: tuple[str, ...] = ()


def inputs_of(entry: BundleEntry, locked: dict[str, LockedBundle], hashes: Hashes) -> Found:
    """Return what an entry's bundles would be made from now.

    Args:
        entry: The entry, read and checked.
        locked: What gemcut.lock has for it: which libraries count, and the commit to use if the hub can't be asked.
        hashes: The hashes of files.

    Raises:
        GemcutError: Target, recipe or baseline is wrong.
        OSError: A file of the checkpoint can't be read.
    """
    first = next((one for one in locked.values() if one.model == entry.model.text), None)
    revision: str | None = None
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}
    if entry.model.folder is not None:
        files = file_hashes(entry.model.folder, hashes, entry.chat_template is None)
    else:
        revision, notes = resolve(entry.model, first.revision if first else None)
        if first is not None and first.revision == revision:
            files = first.files  # a commit's files are always the same
    found = {}
    for runtime in entry.runtimes:
        then = locked.get(runtime)
        known = then.versions if then else {}
        baseline = _baseline(entry, runtime, then)
        found[runtime] = _inputs(entry, runtime, revision, files, versions(known), baseline, hashes)
    return Found(found, revision, notes)


def versions(known: dict[str, str] | Iterable[str]) -> dict[str, str]:
    """Return the installed versions of these packages; a package that isn't installed keeps its known version."""
    found = {}
    for name in known:
        try:
            found[name] = __version__ if name == GEMCUT else public_version(name)
        except metadata.PackageNotFoundError:
            if isinstance(known, dict):
                found[name] = known[name]
    return found


def locked_bundle(
    entry: BundleEntry, found: Found, manifest: Manifest, place: Path, root: Path, hashes: Hashes, processor: str
) -> LockedBundle:
    """Return what gemcut.lock has to record of a bundle that has just been published."""
    runtime = manifest.runtime.name
    inputs = found.inputs[runtime]
    names = (GEMCUT, *manifest.libraries, find_runtime(runtime).distribution)
    # The manifest has the files as they were read, but only the template that is in use.
    read = {name: sha for name, sha in manifest.model.files.items() if "chat_template" not in name}
    return LockedBundle(
        **inputs.model_copy(update={"files": {**inputs.files, **read}, "versions": versions(names)}).model_dump(),
        place=relative(place, root),
        bundle=manifest_sha256(manifest),
        zip=hashes.of(place) if entry.format == "zip" else None,
        processor=processor,
        contents={name: record.sha256 for name, record in manifest.files.items()},
    )


def relative(path: Path, root: Path) -> str:
    """Return a path as the lock has it: relative to the project's folder, with slashes, even if it is outside."""
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()


def _inputs(
    entry: BundleEntry,
    runtime: str,
    revision: str | None,
    files: dict[str, str],
    known: dict[str, str],
    baseline: str | None,
    hashes: Hashes,
) -> Inputs:
    target = load_target(entry.target)
    recipe = load_recipe(recipe_of(entry.recipe, target, runtime))
    return Inputs(
        model=entry.model.text,
        revision=revision,
        adapter=entry.written["adapter"] if entry.adapter is not None else "none",
        adapter_files=_adapter_files(entry, hashes),
        target=target.name,
        target_sha256=_target_hash(target, runtime),
        recipe=recipe.name,
        recipe_sha256=_hash({k: v for k, v in dataclasses.asdict(recipe).items() if k != "path"}),
        baseline=baseline,
        options=_options(entry),
        budgets=entry.budgets.set(),
        versions=known,
        files=files,
    )


def _adapter_files(entry: BundleEntry, hashes: Hashes) -> dict[str, str]:
    """SHA-256 of the adapter's files, by name; the export itself reports a missing one."""
    if entry.adapter is None:
        return {}
    from ..checkpoint.adapters.adapter_config import FILES

    return {name: hashes.of(entry.adapter / name) for name in FILES if (entry.adapter / name).is_file()}


def _target_hash(target: Target, runtime: str) -> str:
    """The hash of what affects a bundle; of a runtime's own table all but the recipe, which has its own hash."""
    said = {key: value for key, value in dataclasses.asdict(target).items() if key not in (*_ASIDE, "own")}
    own = target.own.get(runtime)
    if own is not None:
        said[runtime] = {"prefill_lengths": own.prefill_lengths, "context": own.context, **own.options}
    return _hash(said)


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _options(entry: BundleEntry) -> dict[str, Option]:
    """Everything else that is set and changes the bundle; what only says how to make it is left out."""
    asked: dict[str, Any] = {
        "calibration": entry.written.get("calibration"),
        "chat_template": entry.written.get("chat_template"),
        "golden_prompts": entry.written.get("golden_prompts"),
        "built_in_prompts": entry.written.get("built_in_prompts"),
        "context": entry.context,
        "format": entry.format,
        "output": relative(entry.output, entry.file.parent),
        "prefill_lengths": list(entry.prefill_lengths) or None,
        "prove_on": list(entry.prove_on) or None,
        **entry.options,
    }
    for file, words, name in (
        (entry.chat_template, TEMPLATE_WORDS, "the chat template's file"),
        (entry.calibration, CALIBRATION_WORDS, "the calibration text"),
        (_prompts_of(entry), (), "the prompts"),
    ):
        if file is not None and file not in words:
            asked[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return {key: value for key, value in asked.items() if value is not None}


def _prompts_of(entry: BundleEntry) -> str | None:
    """The file of prompts that an export reads, but for those that the adapter's files or a commit stand for."""
    if entry.golden_prompts is not None:
        return entry.golden_prompts
    if entry.model.folder is None or (entry.adapter is not None and (entry.adapter / OWN_PROMPTS).is_file()):
        return None
    file = entry.model.folder / OWN_PROMPTS
    return str(file) if file.is_file() else None


def _baseline(entry: BundleEntry, runtime: str, locked: LockedBundle | None) -> str | None:
    """The SHA-256 of the baseline's manifest. A missing one counts as unchanged; a build that needs it reports it."""
    if entry.budgets.baseline is None:
        return None
    place = next(baseline_places(entry.budgets.baseline, runtime), None)
    if place is None:
        return locked.baseline if locked else None
    with open_bundle(place) as bundle:
        return manifest_sha256(bundle.manifest)
