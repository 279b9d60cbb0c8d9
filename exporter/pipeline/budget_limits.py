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
    """Limits of one bundle; None for no limit.

    Attributes:
        download_size: The most bytes as a download, compressed.
        device_size: The most bytes on the device, with what the runtime writes beside the bundle.
        peak_memory: The most bytes of memory that the bundle adds to the process that runs it.
        load_time: The largest ratio to the baseline's load time.
        prefill: The smallest ratio to the baseline's prefill tokens per second.
        decode: The smallest ratio to the baseline's decode tokens per second.
        mean_kl: The largest mean KL divergence from the float model, in nats.
        top1: The smallest top-1 agreement with the float model, 0..1.
        tool_calls: The smallest share of the float model's tool calls that are made exactly, 0..1.
        expected: The smallest share of the expected answers that are given, 0..1.
        baseline: The bundle that the ratios are relative to. The two run in turns: a speed alone says nothing.
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
    expected: float | None = None
    baseline: Path | None = None

    def set(self) -> dict[str, float]:
        """Return the limits that are set, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "baseline"}
        return {name: value for name, value in found.items() if value is not None}


RATIOS = ("load_time", "prefill", "decode")


def parse_size(text: str) -> int:
    """Return the bytes of ``"12 MB"`` (powers of 1000, as stores and file managers count) or ``"1.5 GiB"`` (of 1024).

    Raises:
        ValueError: The text isn't a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2] not in UNITS:
        raise ValueError(f"'{text}' is not a size: write a number and one of {', '.join(UNITS)}, as in '12 MB'")
    return round(float(match[1]) * UNITS[match[2]])


def baseline_places(path: Path, runtime: str) -> Iterator[Path]:
    """Yield where a runtime's baseline may be: ``path`` itself, or in it if it is a folder of bundles."""
    if path.is_file() or (path / "manifest.json").is_file():
        yield path
    elif path.is_dir():
        yield from sorted(path.glob(f"*-{runtime}"))
        yield from sorted(path.glob(f"*-{runtime}.gemcut"))
