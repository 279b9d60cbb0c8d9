"""What a device behind adb says of itself: Android's properties and services, and Linux's own files."""

from __future__ import annotations

import re

from ..bench.results import Condition
from .base import Facts

MARK = "--gemcut--"
# The first that is there names the chip; ro.soc.model is of Android 12 and later.
_CHIP = ("ro.soc.model", "ro.board.platform")
_PROPERTIES = ("ro.build.version.release", "ro.product.model", *_CHIP, "ro.boot.qemu", "ro.kernel.qemu", "ro.hardware")
# Android's emulator (both of its virtual boards) and Cuttlefish; QEMU's and crosvm's own boards name themselves "virt".
_VIRTUAL_BOARDS = ("goldfish", "ranchu", "cutf", "vsoc")
_VIRTUAL_MACHINE = "linux,dummy-virt"
# Line by line: properties, kernel, processors, memory, and the board that a device tree names.
ASK = (
    f"for p in {' '.join(_PROPERTIES)}; do getprop $p 2>/dev/null || echo; done; echo {MARK}; uname -sr; uname -m; "
    f"echo {MARK}; cat /proc/cpuinfo; echo {MARK}; cat /proc/meminfo; echo {MARK}; "
    "tr '\\0' '\\n' < /proc/device-tree/compatible 2>/dev/null; true"
)
ASK_CONDITION = f"dumpsys battery 2>/dev/null; echo {MARK}; dumpsys thermalservice 2>/dev/null; true"
# PowerManager's THERMAL_STATUS_NONE to THERMAL_STATUS_SHUTDOWN (android.os).
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def read_facts(said: str) -> Facts:
    """Return facts from what ``ASK`` printed."""
    parts = f"{said}{4 * MARK}".split(MARK)
    values = [line.strip() for line in parts[0].splitlines()]
    props = dict(zip(_PROPERTIES, [*values, *len(_PROPERTIES) * [""]], strict=False))
    kernel, cpus, memory, board = (part.strip(" \n\r").splitlines() for part in parts[1:5])
    system, machine = [*kernel, "", ""][:2]
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in cpus)]
    named = dict(reversed(pairs))  # the first processor's
    features = set((named.get("Features") or named.get("flags") or "").split())
    for key, value in pairs:  # what the cores have in common: a program may run on any
        features &= set(value.split()) if key in ("Features", "flags") else features
    part = f"implementer {named.get('CPU implementer', '?')}, part {named.get('CPU part', '?')}"
    chip = next((props[name] for name in _CHIP if props[name]), "")
    total = next((int(line.split()[1]) for line in memory if line.startswith("MemTotal:")), 0)
    release, model = props["ro.build.version.release"], props["ro.product.model"]
    return Facts(
        system=f"Android {release} on {model} ({system})" if release else system,
        architecture=machine,
        cpu=chip or named.get("model name") or part,
        features=tuple(sorted(features)),
        cores=sum(key == "processor" for key, _ in pairs),
        memory=total * 1024,
        emulated=_is_virtual(props, board),
    )


def _is_virtual(props: dict[str, str], board: list[str]) -> bool:
    if "1" in (props["ro.boot.qemu"], props["ro.kernel.qemu"]):
        return True
    return props["ro.hardware"].startswith(_VIRTUAL_BOARDS) or _VIRTUAL_MACHINE in board


def read_condition(said: str) -> Condition | None:
    """Return the condition from what ``ASK_CONDITION`` printed; None if it says nothing."""
    battery, _, thermal = said.partition(MARK)
    told = dict(re.findall(r"^\s*([\w ]+?): (\S+)\s*$", battery, re.MULTILINE))
    powered = [value == "true" for key, value in told.items() if key.endswith("powered")]
    status = re.search(r"^\s*Thermal Status: (\d+)", thermal, re.MULTILINE)
    number = int(status[1]) if status else -1
    found = Condition(
        battery=_integer(told.get("level")),
        temperature=None if (tenths := _integer(told.get("temperature"))) is None else tenths / 10,
        charging=any(powered) if powered else None,
        thermal_status=_THERMAL[number] if 0 <= number < len(_THERMAL) else None,
    )
    return None if found == Condition() else found


def _integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None
