"""One virtual machine: started, up within a time limit, and ended with this process.

QEMU emulates the processor instruction by instruction (TCG), even on an arm64 host. Its network is QEMU's own user
network, closed to the outside (``restrict=on``); one port of this machine's loopback leads to adbd.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from ...errors import ConformanceError, LackingError, UsageError
from ...util import processes
from ..adb_client import free_port
from .image import Image, make_disk

QEMU = "qemu-system-aarch64"
CPU = "cortex-a76"
CORES = 2
SMALLEST = 256  # MiB: twice what the kernel, its unpacked initrd and adbd take
BOOT = 180.0  # seconds; an idle machine takes 4, and 27 were seen on a busy one
SCRATCH = 32 << 30  # bytes that the scratch disk can grow to
_READY = "gemcut: up"
_BUSY = "this machine is very busy or has too little memory left, or --device-memory is too small: try again, or set it"
_TAIL = 12
_SHOWN = 300
_TRIES = 3
_UNITS = {"M": 1, "G": 1024}


def mebibytes(memory: str) -> int:
    """Return a size as QEMU writes it, ``2G`` or ``512M``, in MiB.

    Raises:
        UsageError: It isn't a size, or is too small to boot in.
    """
    found = re.fullmatch(r"([1-9]\d{0,6})([MG])", memory.upper())
    if not found:
        raise UsageError(f"--device-memory {memory} is not a size", hint="write it as 2G or 512M")
    size = int(found[1]) * _UNITS[found[2]]
    if size < SMALLEST:
        raise UsageError(
            f"--device-memory {memory}: the virtual machine itself takes more",
            hint=f"set at least --device-memory {SMALLEST}M",
        )
    return size


class Machine:
    """A running machine.

    Attributes:
        port: The port of the loopback that leads to its adbd.
    """

    def __init__(self, image: Image, memory: int, work: Path, library: Path | None = None) -> None:
        """Start the machine and wait until it is up.

        Args:
            image: What it boots.
            memory: Its memory in MiB.
            work: A folder for its scratch disk and its console's log.
            library: A disk that is mounted read-only at /opt.

        Raises:
            ConformanceError: It isn't up in time; the message has the last lines of its console.
            LackingError: There is no QEMU, or it doesn't start.
        """
        self._console, self._log = work / "console.txt", work / "qemu.txt"
        scratch = work / "scratch.img"
        make_disk(scratch, SCRATCH)
        disks = [f"file={scratch},format=raw,if=virtio,cache=unsafe,discard=unmap"]
        disks += [f"file={library},format=raw,if=virtio,readonly=on"] if library else []
        for _ in range(_TRIES):  # another process may take the port before QEMU does
            self.port = free_port()
            self._process = self._started(image, memory, disks)
            try:
                if self._is_up():
                    return
            except BaseException:
                self.stop()
                raise
            self.stop()
            if "hostfwd" not in self._read_log(self._log):
                break
        said = self._read_log(self._log).strip()
        if said:
            raise LackingError(f"{QEMU} doesn't start: {said[-_SHOWN:]}", hint=_BUSY)
        raise ConformanceError(
            f"the virtual machine ended before it was up; its console says: {self.tail()}", hint=_BUSY
        )

    def _started(self, image: Image, memory: int, disks: list[str]) -> subprocess.Popen[bytes]:
        self._console.unlink(missing_ok=True)
        command = [QEMU, "-M", "virt", "-cpu", CPU, "-smp", str(CORES), "-m", f"{memory}M", "-no-reboot"]
        command += ["-display", "none", "-nodefaults", "-serial", f"file:{self._console}"]
        command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
        command += ["-append", "console=ttyAMA0 quiet panic=-1"]
        command += ["-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:5555"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile="]
        for disk in disks:
            command += ["-drive", disk]
        with self._log.open("wb") as log:
            return processes.start(command, out=log)

    def _is_up(self) -> bool:
        """Wait for what ``init.sh`` prints; False if QEMU ended before it."""
        until = time.monotonic() + BOOT
        while time.monotonic() < until:
            if _READY in self._read_log(self._console):
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.1)
        raise ConformanceError(
            f"the virtual machine isn't up after {BOOT:.0f} seconds; its console says: {self.tail()}",
            hint=_BUSY,
        )

    @staticmethod
    def _read_log(path: Path) -> str:
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def tail(self) -> str:
        """Return the console's last lines, in one; after a kernel panic, the lines that say why."""
        lines = [line.strip() for line in self._read_log(self._console).splitlines() if line.strip()]
        panic = next((at for at, line in enumerate(lines) if "Kernel panic" in line), len(lines))
        shown = lines[panic : panic + 2] or lines[-_TAIL:]
        return " / ".join(shown) or "nothing"

    def killed_for_memory(self) -> bool:
        """Return whether its kernel ended a process because the memory ran out (the message is of mm/oom_kill.c)."""
        return "Out of memory: Killed process" in self._read_log(self._console)

    def stop(self) -> None:
        """End the machine."""
        processes.stop(self._process)
