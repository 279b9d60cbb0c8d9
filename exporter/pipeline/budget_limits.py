"""What ``gemcut.toml`` may ask of a bundle beyond its recipe's gate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

UNITS = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
SIZE_PATTERN = r"^\s*\d+(\.\d+)?\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*$"


@dataclass(frozen=True)
class Budgets:
    """Limits of one bundle; None where there is none.

    download_size, device_size, peak_memory: bytes, at most. load_time: a ratio to the baseline's, at most. prefill,
    decode: ratios to the baseline's tokens per second, at least. mean_kl: nats, at most. top1, tool_calls: 0..1, at
    least. baseline: the bundle that the ratios are of, run in turns with this one: a speed alone says nothing.
    """

    download_size: int | None = None
    device_size: int | None = None
    peak_memory: int | None = None
    load_time: float | None = None
    prefill: float | None = None
    decode: float | None = None
    mean_kl: float | None = None
    top1: float | None = None
    tool_calls: float | None = None
    baseline: Path | None = None

    def set(self) -> dict[str, float]:
        """The limits that are set, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "baseline"}
        return {name: value for name, value in found.items() if value is not None}


RATIOS = ("load_time", "prefill", "decode")


def parse_size(text: str) -> int:
    """Bytes of ``"12 MB"`` (powers of 1000, as stores and file managers count) or ``"1.5 GiB"`` (powers of 1024).

    Raises:
        ValueError: Something else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2] not in UNITS:
        raise ValueError(f"'{text}' is no size: write bytes, or a number and one of {', '.join(UNITS)}, as in '12 MB'")
    return round(float(match[1]) * UNITS[match[2]])


def baseline_places(path: Path, runtime: str) -> Iterator[Path]:
    """Where a runtime's baseline may lie: ``path`` itself, or in it where that is the folder of several runtimes'."""
    if path.is_file() or (path / "manifest.json").is_file():
        yield path
    elif path.is_dir():
        yield from sorted(path.glob(f"*-{runtime}"))
        yield from sorted(path.glob(f"*-{runtime}.gemcut"))
