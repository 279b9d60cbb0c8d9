"""What completes a word of the command line: names that Gemcut knows, bundles, models.

A shell runs a command for each press of its key, so these import as little as they can, and never torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import click
from click.shell_completion import CompletionItem

Values = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

# How far a press of a key looks for bundles and models: folders deep, and folders in all.
_DEEP, _MOST = 3, 2000


def offered(names: Callable[[str], Iterable[str]], otherwise: Literal["file", "dir", ""] = "") -> Values:
    """Return what completes a word by one of some names.

    Args:
        names: Returns them; it is given what is typed already.
        otherwise: What the shell completes if no name begins like that: any file, any folder, or nothing.
    """

    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        found: list[CompletionItem] = []
        with suppress(OSError):  # what can't be read is not offered
            found = [CompletionItem(name) for name in names(typed) if name.startswith(typed)]
        return found or ([CompletionItem(typed, type=otherwise)] if otherwise else [])

    return complete


def words_or(otherwise: Literal["file", "dir"], *known: str) -> Values:
    """Return what completes a word by one of these, or a file, or a folder."""
    return offered(lambda _: known, otherwise)


def listed(names: Callable[[], Iterable[str]]) -> Values:
    """Return what completes the last of several names with commas between them."""

    def all_of(typed: str) -> Iterator[str]:
        before, comma, _ = typed.rpartition(",")
        return (f"{before}{comma}{name}" for name in names() if name not in before.split(","))

    return offered(all_of)


def _targets(_: str) -> Iterable[str]:
    from ..target import list_targets

    return list_targets()


def _recipes(_: str) -> Iterable[str]:
    from ..quantize.recipe import list_recipes

    return list_recipes()


def _runtimes() -> Iterable[str]:
    from ..runtimes import runtime_names

    return runtime_names()


def _devices(_: str) -> Iterable[str]:
    from ..devices import DEVICES

    return DEVICES.names()


def _devices_to_set_up(_: str) -> Iterable[str]:
    from ..devices import DEVICES

    return (kind.name for kind in DEVICES if not kind.is_host)


def _limits() -> Iterable[str]:
    from ..diff.document import AREAS
    from ..diff.thresholds import FIGURES

    return dict.fromkeys((*FIGURES, *AREAS))


def _releases(_: str) -> Iterable[str]:
    from ..check.runtime_spec import packages

    return (f"{name}=={version}" for name, one in packages().items() for version in reversed(one.published))


def _kinds(_: str) -> Iterable[str]:
    from ..tidy.kept_results import KINDS

    return (kind.name for kind in KINDS)


def _project_bundles(_: str) -> Iterable[str]:
    import tomllib

    from ..project.place import FILE, project_root

    root = project_root()
    with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
        bundles = tomllib.loads((root / FILE).read_text(encoding="utf-8-sig")).get("bundles") if root else None
        return bundles if isinstance(bundles, dict) else ()
    return ()


def _bundles(typed: str) -> Iterator[str]:
    from ..tidy.bundle_places import bundle_places

    before, folder = _begun(typed)
    for path in bundle_places(folder, _DEEP, _MOST):
        yield before + path.relative_to(folder).as_posix() if path != folder else before.rstrip("/") or "."


def _models(typed: str) -> Iterator[str]:
    """Folders that hold a checkpoint, and models of the hub that were fetched already."""
    from huggingface_hub.constants import HF_HUB_CACHE

    before, folder = _begun(typed)
    yield from (before + path.parent.name for path in sorted(folder.glob("[!.]*/config.json")))
    with suppress(OSError):
        for path in sorted(Path(HF_HUB_CACHE).glob("models--*")):
            yield path.name.removeprefix("models--").replace("--", "/", 1)


def _begun(typed: str) -> tuple[str, Path]:
    """The folder in which a path begins, as it is typed and as a path."""
    name, slash, _ = typed.rpartition("/")
    return f"{name}{slash}", Path(name or slash or ".").expanduser()


TARGETS = offered(_targets, "file")
RECIPES = offered(_recipes, "file")
RUNTIMES = listed(_runtimes)
DEVICES = offered(_devices)
DEVICES_TO_SET_UP = offered(_devices_to_set_up)
LIMITS = listed(_limits)
RELEASES = offered(_releases, "file")
CACHE_KINDS = offered(_kinds)
PROJECT_BUNDLES = offered(_project_bundles)
BUNDLES = offered(_bundles, "file")
MODELS = offered(_models, "dir")
ADAPTERS = words_or("dir", "sample")
FILES = words_or("file")
