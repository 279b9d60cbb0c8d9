"""Reads ``gemcut.toml``, and reports every mistake at once, each with file, line and the nearest valid word."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint.hub import hub_id
from ..errors import EXIT_UNSUPPORTED, UsageError, nearest
from ..pipeline.budget_limits import Budgets
from ..runtimes import DEFAULT, RUNTIMES, runtime_names
from .entries import (
    CALIBRATION_WORDS,
    SAMPLE,
    TEMPLATE_WORDS,
    BundleEntry,
    Mistake,
    ModelSource,
    Project,
    ProjectError,
)
from .place import FILE

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_TYPES = {
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "dict_type": "should be a table: write [bundles.NAME]",
    "tuple_type": "should be a list: [...]",
    "string_type": 'should be text: "..."',
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "too_short": "is empty",
    "string_too_short": "is empty",
}
_FIRST = {"extra_forbidden": 0, "literal_error": 1}  # a misspelt key is the reason why another is missing


def read_project(root: Path) -> Project:
    """Read ``gemcut.toml`` in ``root``, and check everything that it names: targets, recipes, templates, devices.

    Raises:
        UsageError: There is no such file, or it can't be read.
        ProjectError: It isn't TOML, or something in it is wrong; the error has every mistake.
    """
    path = root / FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", hint="Run gemcut init to write one.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}", hint="Save it as UTF-8.") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    data, lines = _parsed(path, text)
    tables, wrong = _validated(path, data, lines)
    return _project(root, path, tables, lines, wrong)


@dataclass(frozen=True)
class _Wrong:
    """What the types of the tables don't allow.

    Attributes:
        mistakes: All of it.
        places: Where it is, as keys from the top: these keys were left out.
    """

    mistakes: tuple[Mistake, ...] = ()
    places: tuple[tuple[str, ...], ...] = ()

    def touches(self, name: str) -> bool:
        """Whether a key of a bundle was left out, or one of the defaults."""
        return any(self._of(name))

    def may_hold(self, name: str, key: str) -> bool:
        """Whether what was left out of a bundle, or of the defaults, is this key: misspelt, or with a wrong value."""
        return any(get_close_matches(key, place[-1:]) for place in self._of(name))

    def _of(self, name: str) -> Iterator[tuple[str, ...]]:
        return (place for place in self.places if place[0] == "defaults" or place[:2] == ("bundles", name))


def _parsed(path: Path, text: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    from .positions import lines_of, mistake_of

    try:
        return tomllib.loads(text), lines_of(text)
    except tomllib.TOMLDecodeError as error:
        line, reason = mistake_of(text, error)
        raise ProjectError(path, [Mistake(line, f"not TOML: {reason}")]) from error
    except RecursionError as error:
        raise ProjectError(path, [Mistake(1, "nested too deeply")]) from error


def _validated(path: Path, data: dict[str, Any], lines: dict[tuple[str, ...], int]) -> tuple[dict[str, Any], _Wrong]:
    """The content of the file, only what is set, without what its tables don't allow; and what that is."""
    from pydantic import ValidationError

    from .tables import tables

    model = tables(runtime_names()).project
    try:
        return model.model_validate_json(json.dumps(data, default=str)).model_dump(exclude_unset=True), _Wrong()
    except ValidationError as error:
        errors = error.errors()
    inner = {each["loc"][:-1] for each in errors}  # a list with a wrong item is also said to be too short
    found = [each for each in errors if not (each["type"] == "too_short" and each["loc"] in inner)]
    found.sort(key=lambda each: _FIRST.get(each["type"], 2))
    wrong = _Wrong(
        tuple(_explain(each, lines) for each in found),
        tuple(tuple(str(part) for part in each["loc"]) for each in errors),
    )
    try:
        read = model.model_validate_json(json.dumps(_without(data, wrong.places), default=str))
    except ValidationError as error:
        raise ProjectError(path, list(wrong.mistakes)) from error
    return read.model_dump(exclude_unset=True), wrong


def _without(data: dict[str, Any], places: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """The content without the keys at these places; an item of a list takes its list along, a wrong key its value."""
    left: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for whole in places:
        place = whole[:-1] if whole[-1] == "[key]" else whole
        table = left
        for key in place[:-1]:
            inner = table.get(key)
            if not isinstance(inner, dict):
                table.pop(key, None)
                break
            table = inner
        else:
            table.pop(place[-1], None)
    return left


def _explain(error: ErrorDetails, lines: dict[tuple[str, ...], int]) -> Mistake:
    from .positions import line_of
    from .tables import NAME_PATTERN, UNKNOWN_RUNTIME

    loc = tuple(str(part) for part in error["loc"] if part != "[key]")
    line, where, kind = line_of(lines, loc), ".".join(loc), error["type"]
    if kind == "extra_forbidden":
        known = _known(loc[:-1])
        return Mistake(line, f"unknown key '{where}': {nearest(loc[-1], known)}", EXIT_UNSUPPORTED)
    if kind in ("literal_error", UNKNOWN_RUNTIME):
        expected = re.findall(r"'([^']*)'", error.get("ctx", {}).get("expected", ""))
        choices = runtime_names() if kind == UNKNOWN_RUNTIME else expected
        return Mistake(line, f"{where} = '{error['input']}': {nearest(str(error['input']), choices)}", EXIT_UNSUPPORTED)
    if loc == ("bundles",) and kind in ("missing", "too_short"):
        return Mistake(line, "it lists no bundles", hint="Add a table [bundles.NAME] with model and target.")
    if error["loc"][-1:] == ("[key]",):
        return Mistake(line, f"'{loc[-1]}' is not a valid bundle name: use letters, digits, - and _ ({NAME_PATTERN})")
    value = error["input"]
    shown = f" = {json.dumps(value, ensure_ascii=False)}" if isinstance(value, str | int | float) else ""
    message = _TYPES.get(kind) or error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return Mistake(line, f"{where}{shown}: {message}")


def _known(table: tuple[str, ...]) -> list[str]:
    """The keys that a table of the file takes."""
    from .tables import BudgetTable, tables

    if table[-1:] == ("budgets",) and len(table) > 1:
        return list(BudgetTable.model_fields)
    models = tables(runtime_names())
    if not table:
        return list(models.project.model_fields)
    return list((models.defaults if table == ("defaults",) else models.bundle).model_fields)


def _project(
    root: Path, path: Path, tables: dict[str, Any], lines: dict[tuple[str, ...], int], wrong: _Wrong
) -> Project:
    from .validation import check_entry, check_outputs

    defaults: dict[str, Any] = tables.get("defaults", {})
    entries: list[BundleEntry] = []
    mistakes = list(wrong.mistakes)
    for name, table in tables["bundles"].items():
        values = {**defaults, **table, "budgets": {**defaults.get("budgets", {}), **table.get("budgets", {})}}
        where = dict(_lines(name, values, lines))
        missing = [key for key in ("model", "target") if key not in values]
        if missing:
            mistakes += [
                Mistake(where[""], f"bundles.{name} has no {key}", hint=_missing_key_hint(key))
                for key in missing
                if not wrong.may_hold(name, key)
            ]
            continue
        entry = _entry(root, path, name, values, where)
        found = check_entry(entry, whole=not wrong.touches(name))
        mistakes += (_in_defaults(each, name, lines) for each in found)
        entries.append(entry)
    mistakes += check_outputs(entries)
    if mistakes:
        raise ProjectError(path, list(dict.fromkeys(mistakes)))
    return Project(root, path, tuple(entries))


def _in_defaults(mistake: Mistake, name: str, lines: dict[tuple[str, ...], int]) -> Mistake:
    """The mistake of a bundle, said of [defaults] if it stands there: it is the same for every bundle."""
    if not any(place[0] == "defaults" and line == mistake.line for place, line in lines.items() if len(place) > 1):
        return mistake
    return replace(mistake, message=mistake.message.replace(f"bundles.{name}.", "defaults.", 1))


def _missing_key_hint(key: str) -> str:
    examples = {"model": 'model = "org/name@revision"', "target": 'target = "android-arm64"'}
    return f"Add {examples[key]}, here or in [defaults]."


def _lines(name: str, values: dict[str, Any], lines: dict[tuple[str, ...], int]) -> Iterator[tuple[str, int]]:
    """The line of each key that applies to a bundle: its own, else that in [defaults]; '' is the table's line."""
    table = lines.get(("bundles", name), 1)
    yield "", table
    keys = [(key,) for key in values] + [("budgets", key) for key in values["budgets"]]
    for key in keys:
        places = (("bundles", name, *key), ("defaults", *key))
        yield ".".join(key), next((lines[place] for place in places if place in lines), table)


def _file_or_word(root: Path, value: str | None, words: tuple[str, ...]) -> str | None:
    """A path relative to the project's folder, or one of some words, or nothing."""
    return value if value is None or value in words else str(root / Path(value).expanduser())


def _entry(root: Path, path: Path, name: str, values: dict[str, Any], where: dict[str, int]) -> BundleEntry:
    form = values.get("format", "dir")
    runtimes = tuple(values.get("runtimes", (DEFAULT,)))
    zipped = form == "zip" and len(runtimes) == 1
    output = values.get("output", f"bundles/{name}.gemcut" if zipped else f"bundles/{name}")
    baseline = values.get("baseline")
    return BundleEntry(
        name=name,
        file=path,
        line=where[""],
        model=_model(root, values["model"]),
        target=_name_or_file(root, values["target"]),
        runtimes=runtimes,
        output=root / Path(output).expanduser(),
        adapter=_adapter(root, values["adapter"]) if "adapter" in values else None,
        recipe=_name_or_file(root, values["recipe"]) if "recipe" in values else None,
        calibration=_file_or_word(root, values.get("calibration"), CALIBRATION_WORDS),
        golden_prompts=_file_or_word(root, values.get("golden_prompts"), ()),
        built_in_prompts=values.get("built_in_prompts", "all"),
        context=values.get("context"),
        prefill_lengths=tuple(sorted(values.get("prefill_lengths", ()))),
        options=_options(values),
        chat_template=_file_or_word(root, values.get("chat_template"), TEMPLATE_WORDS),
        format=form,
        prove_on=tuple(values.get("prove_on", ())),
        timeout=values.get("timeout"),
        device_memory=values.get("device_memory"),
        budgets=Budgets(**values["budgets"], baseline=root / Path(baseline).expanduser() if baseline else None),
        written=values,
        lines=where,
    )


def _options(values: dict[str, Any]) -> dict[str, bool]:
    """The runtimes' own options that are set; false counts only for an option that can be refused."""
    known = [option for runtime in RUNTIMES for option in runtime.options]
    return {
        option.name: values[option.name]
        for option in known
        if (values.get(option.name) is not None if option.can_refuse else values.get(option.name))
    }


def _model(root: Path, text: str) -> ModelSource:
    """What ``model`` means: the sample, else an existing directory, else a hub id, else a missing directory."""
    if text == SAMPLE:
        from ..sample import sample_path

        return ModelSource(text, "sample", sample_path())
    folder = root / Path(text).expanduser()
    named = hub_id(text, root)
    if named is None or folder.exists():
        return ModelSource(text, "directory", folder)
    return ModelSource(text, "hub", None, *named)


def _adapter(root: Path, text: str) -> Path:
    """The sample's adapter, or a directory."""
    from ..sample import adapter_path

    folder = root / Path(text).expanduser()
    return folder if text != SAMPLE or folder.is_dir() else adapter_path()


def _name_or_file(root: Path, text: str) -> str:
    """A shipped name unchanged, or a file relative to the project's folder, as ``config.toml_file.locate`` decides."""
    is_file = text.endswith(".toml") or "/" in text or "\\" in text
    return str(root / Path(text).expanduser()) if is_file else text
