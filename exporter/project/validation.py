"""Checks an entry of ``gemcut.toml``, before any work, for mistakes that the types of its keys can't catch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..errors import EXIT_UNSUPPORTED, EXIT_USAGE, GemcutError
from ..pipeline.budget_limits import RATIOS
from ..runtimes import RUNTIMES
from .entries import CALIBRATION_WORDS, HINT, TEMPLATE_WORDS, BundleEntry, Mistake


def check_entry(entry: BundleEntry, whole: bool = True) -> Iterator[Mistake]:
    """Yield everything that is wrong with one entry.

    Args:
        entry: The entry.
        whole: Whether it has all that the file says of it; what keys say together is checked only then.
    """
    yield from _check_model(entry)
    yield from _check_adapter(entry)
    yield from _check_target(entry)
    if whole:
        yield from _check_shapes(entry)
    yield from _check_devices(entry)
    yield from _check_baseline(entry)
    for key, file, words, hint in (
        ("chat_template", entry.chat_template, TEMPLATE_WORDS, "Name a Jinja file, or none for a base model."),
        (
            "calibration",
            entry.calibration,
            CALIBRATION_WORDS,
            "Name a text file; or quick, or none for plain rounding.",
        ),
        ("golden_prompts", entry.golden_prompts, (), "Name a JSON Lines file; see docs/guides/golden-prompts.md."),
    ):
        if file is not None and file not in words and not os.path.isfile(file):
            yield _at(entry, key, f"no such file: {file}", hint=hint)


def check_outputs(entries: Iterable[BundleEntry]) -> Iterator[Mistake]:
    """Yield a mistake for two bundles in one place, or one inside another."""
    taken: dict[str, str] = {}
    for entry in entries:
        place = os.path.normcase(os.path.abspath(entry.output))
        for other, name in taken.items():
            if os.path.commonpath([place, other]) in (place, other):
                how = "is also the output of" if place == other else "overlaps with the output of"
                yield _at(entry, "output", f"{entry.output} {how} bundles.{name}", hint="Give each its own output.")
        taken[place] = entry.name
        root = os.path.normcase(os.path.abspath(entry.file.parent))
        if os.path.commonpath([place, root]) == place:
            yield _at(entry, "output", f"{entry.output} is the folder of {entry.file.name}, or a folder around it")


def _at(entry: BundleEntry, key: str, message: str, code: int = EXIT_USAGE, hint: str = HINT) -> Mistake:
    return Mistake(entry.lines.get(key, entry.line), f"bundles.{entry.name}.{key}: {message}", code, hint)


def _raised(entry: BundleEntry, key: str, error: GemcutError) -> Mistake:
    return _at(entry, key, error.message, error.exit_code, error.hint or HINT)


def _check_model(entry: BundleEntry) -> Iterator[Mistake]:
    folder = entry.model.folder
    if folder is None or (folder / "config.json").is_file():
        return
    if not folder.exists():
        wrong = f"no such directory: {folder}"
    elif not folder.is_dir():
        wrong = f"{folder} is a file, not a directory"
    else:
        wrong = f"{folder} has no config.json, so it isn't a checkpoint"
    hint = "Name 'sample', a directory relative to gemcut.toml, or a hub id: org/name@revision."
    yield _at(entry, "model", wrong, hint=hint)


def _check_adapter(entry: BundleEntry) -> Iterator[Mistake]:
    """Check the configuration, which says whether it can be merged at all; its tensors need the model."""
    from ..checkpoint.adapters.adapter_config import read_config

    if entry.adapter is None:
        return
    if not entry.adapter.is_dir():
        hint = "Name a directory relative to gemcut.toml that holds a PEFT adapter, or 'sample'."
        yield _at(entry, "adapter", f"no such directory: {entry.adapter}", hint=hint)
        return
    try:
        read_config(entry.adapter)
    except GemcutError as error:
        yield _raised(entry, "adapter", error)


def _check_target(entry: BundleEntry) -> Iterator[Mistake]:
    from ..errors import nearest
    from ..quantize.recipe import load_recipe
    from ..target import load_target

    for runtime in sorted(name for name in set(entry.runtimes) if entry.runtimes.count(name) > 1):
        yield _at(entry, "runtimes", f"'{runtime}' is listed twice")
    if entry.recipe is not None:
        try:
            load_recipe(entry.recipe)
        except GemcutError as error:
            yield _raised(entry, "recipe", error)
    try:
        target = load_target(entry.target)
        for runtime in entry.runtimes:
            if runtime not in target.runtimes:
                offered = nearest(runtime, target.runtimes)
                message = f"the target {target.name} doesn't name the runtime '{runtime}': {offered}"
                yield _at(entry, "runtimes", message, EXIT_UNSUPPORTED)
    except GemcutError as error:
        yield _raised(entry, "target", error)


def _check_shapes(entry: BundleEntry) -> Iterator[Mistake]:
    lengths = entry.prefill_lengths
    if len(set(lengths)) < len(lengths):
        yield _at(entry, "prefill_lengths", "a length is listed twice")
    for runtime in RUNTIMES:
        own = {option.name: entry.options[option.name] for option in runtime.options if option.name in entry.options}
        if runtime.name in entry.runtimes:
            try:
                runtime.check_options(own, lengths)
            except GemcutError as error:
                yield _at(entry, next(iter(own)), error.message.replace("--", "").replace("-", "_"))
            continue
        for key in own:
            yield _at(entry, key, f"it is an option of {runtime.name}, which runtimes doesn't name")
    if entry.format == "zip" and len(entry.runtimes) == 1 and os.path.isdir(entry.output):
        yield _at(entry, "output", f"{entry.output} is a folder, but format is zip", hint="Name a .gemcut file.")


def _check_devices(entry: BundleEntry) -> Iterator[Mistake]:
    from ..devices import kind_of

    kinds, known = [], True
    for spec in entry.prove_on:
        try:
            kinds.append(kind_of(spec))
        except GemcutError as error:
            known = False
            said = error.message.removeprefix(f"--on {spec}: ")
            yield _raised(entry, "prove_on", type(error)(said, hint=error.hint))
    for spec in sorted({one for one in entry.prove_on if entry.prove_on.count(one) > 1}):
        yield _at(entry, "prove_on", f"'{spec}' is listed twice")
    if not known:
        return
    if entry.timeout is not None and not any(not kind.is_host for kind in kinds):
        yield _at(entry, "timeout", "it is for devices, and prove_on names none", hint="gemcut devices lists them.")
    if entry.device_memory is not None and not any(kind.takes_memory for kind in kinds):
        yield _at(entry, "device_memory", "it is for arm64-vm, which prove_on doesn't name")


def _check_baseline(entry: BundleEntry) -> Iterator[Mistake]:
    baseline, asked = entry.budgets.baseline, [name for name in RATIOS if name in entry.budgets.set()]
    if asked and baseline is None:
        hint = f'Add baseline = "PATH" to [bundles.{entry.name}]: a bundle that you keep, such as the last release\'s.'
        yield _at(entry, f"budgets.{asked[0]}", "it is a ratio, but there is no baseline", hint=hint)
    if baseline is not None and not asked:
        yield _at(entry, "baseline", f"no budget is a ratio ({', '.join(RATIOS)}), so nothing is compared with it")
    if baseline is not None and os.path.abspath(baseline) == os.path.abspath(entry.output):
        hint = "Keep a copy of a bundle elsewhere, such as in baselines/, and name that."
        yield _at(entry, "baseline", "it is this bundle's own output, which the next export replaces", hint=hint)
