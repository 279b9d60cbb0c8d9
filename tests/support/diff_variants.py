"""Comparing bundles, and changing what is in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gemcut.bundle.reader import open_bundle
from gemcut.diff.compare import diff_bundles
from gemcut.diff.document import DiffResult
from gemcut.diff.thresholds import parse_thresholds
from gemcut.prove.golden import Golden, Recorded
from gemcut.prove.golden_files import GOLDENS, RECORDED, load_goldens, load_recorded, save_goldens, save_recorded
from gemcut.util.progress import Silent

Variant = Callable[..., Path]


def compare(a: Path, b: Path, *limits: str) -> DiffResult:
    return diff_bundles(a, b, parse_thresholds(limits), Silent())


def severities(found: DiffResult) -> dict[str, str]:
    """The areas that changed, and how."""
    return {one.area: one.severity for one in found.changes if one.severity != "same"}


def read(bundle: Path, name: str) -> bytes:
    with open_bundle(bundle) as opened:
        return opened.read(name)


def other_outputs(bundle: Path, change: Callable[[Golden, Recorded], Recorded]) -> dict[str, bytes]:
    """The bundle's own outputs, each passed through ``change``."""
    goldens = load_goldens({name: read(bundle, name) for name in GOLDENS})
    recorded = load_recorded({name: read(bundle, name) for name in RECORDED})
    return save_recorded([change(*pair) for pair in zip(goldens, recorded, strict=True)])


def other_goldens(bundle: Path, change: Callable[[list[Golden], list[Recorded]], None]) -> dict[str, bytes]:
    """The bundle's goldens and outputs after ``change`` has had its way with the two lists."""
    goldens = list(load_goldens({name: read(bundle, name) for name in GOLDENS}))
    recorded = list(load_recorded({name: read(bundle, name) for name in RECORDED}))
    change(goldens, recorded)
    return {**save_goldens(goldens), **save_recorded(recorded)}


def spoiled(golden: Golden, one: Recorded) -> Recorded:
    """A reply whose tool call has another word in it; other replies stay."""
    if "<|tool_call>" not in one.greedy_text:
        return one
    return replace(one, greedy_text=one.greedy_text.replace("call:", "call:x_", 1), greedy_ids=(7, *one.greedy_ids[1:]))
