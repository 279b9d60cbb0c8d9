"""Plugins by name: one row each, imported when asked for, with entry points for other distributions."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Generic, TypeVar

from ..errors import LackingError, UnsupportedError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """The plugins of one kind.

    A plugin is imported by ``get``, never before, so that listing names costs nothing and a user installs only what
    they use. A distribution of a third party adds one by an entry point in ``group``
    (https://packaging.python.org/en/latest/specifications/entry-points/).

    Args:
        kind: What one is called in messages, such as ``runtime``.
        group: The entry points' group, such as ``gemcut.runtimes``.
        rows: Name -> ``module:OBJECT``, in the order in which they are listed; a module that begins with a dot is
            relative to ``package``.
        package: The package that the rows' modules are relative to.
        misfit: Returns why another distribution's plugin of that name can't be used; empty if it can.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        rows: Mapping[str, str],
        package: str,
        misfit: Callable[[str, T], str] | None = None,
    ) -> None:
        self.kind = kind
        self._misfit = misfit
        self.group = group
        self._rows = dict(rows)
        self._package = package
        self._loaded: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """Every name: the packaged ones in their order, then those of other distributions, sorted."""
        return (*self._rows, *sorted(set(_entry_points(self.group)) - set(self._rows)))

    @property
    def packaged(self) -> tuple[str, ...]:
        """The names of those that ship with Gemcut."""
        return tuple(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in _entry_points(self.group)

    def __iter__(self) -> Iterator[T]:
        """Yield every plugin but those of other distributions that can't be imported: one broken plugin breaks itself.

        ``gemcut doctor`` names those that are left out, and so does ``get``.
        """
        for name in self.names():
            try:
                yield self.get(name)
            except LackingError:
                continue

    def get(self, name: str) -> T:
        """Import and return a plugin.

        Raises:
            UnsupportedError: None has that name; the message has the nearest.
            LackingError: Another distribution's plugin can't be imported, or doesn't fit in.
        """
        if name not in self._loaded:
            if name not in self:
                raise UnsupportedError(f"unknown {self.kind} '{name}': {nearest(name, self.names())}")
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        if name in self._rows:
            module, _, attribute = self._rows[name].partition(":")
            found: T = getattr(importlib.import_module(module, self._package), attribute)
            return found
        point = _entry_points(self.group)[name]
        owner = point.dist.name if point.dist is not None else point.value
        hint = f"Update {owner}, or uninstall it: pip uninstall {owner}."
        try:
            outside: T = point.load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise LackingError(f"the {self.kind} '{name}' of {owner} can't be imported: {why}", hint=hint) from error
        if why := self._misfit(name, outside) if self._misfit else "":
            raise LackingError(f"the {self.kind} '{name}' of {owner} can't be used: {why}", hint=hint)
        return outside


@functools.cache
def _entry_points(group: str) -> Mapping[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=group)}
