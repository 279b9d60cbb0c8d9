"""Noise of libraries never reaches the user, however they make it."""

from __future__ import annotations

import subprocess
import sys

from gemcut.util.native_output import noise, quiet, streams

NOISY = """
import ctypes, logging, os, subprocess, sys, warnings
from gemcut.util.native_output import noise, quiet
with quiet({verbose}) as own:
    print("python out")
    print("python err", file=sys.stderr)
    warnings.warn("a warning")
    logging.getLogger("torch").warning("a log line")
    os.write(2, b"native err\\n")
    ctypes.CDLL(None).puts(b"native out")
    subprocess.run("echo child out; echo child err >&2", shell=True)
    with quiet() as inner:
        print("nested")
    print("the result", file=own.out)
    print("progress", file=own.err)
print("after")
sys.exit(0 if {verbose} or all(w in noise() for w in {words!r}) else 3)
"""
WORDS = (
    "python out",
    "python err",
    "a warning",
    "a log line",
    "native err",
    "native out",
    "child out",
    "child err",
    "nested",
)
IMPORTS = """
from gemcut.util.native_output import quiet
with quiet():
    import warnings
    import torchao.quantization
    from executorch.extension.pybindings import portable_lib
    import executorch.backends.xnnpack.partition.xnnpack_partitioner
    warnings.warn("noise")
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_all_noise_is_kept_and_only_our_own_words_come_out() -> None:
    done = run(NOISY.format(verbose=False, words=WORDS))
    assert done.returncode == 0
    assert done.stdout == "the result\nafter\n"
    assert done.stderr == "progress\n"


def test_verbose_shows_all_noise_on_stderr_and_results_alone_on_stdout() -> None:
    done = run(NOISY.format(verbose=True, words=WORDS))
    assert done.stdout == "the result\nafter\n"
    assert all(word in done.stderr for word in WORDS)


def test_importing_torchao_and_the_runtime_says_nothing() -> None:
    done = run(IMPORTS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_streams_are_back_afterwards_even_after_an_error() -> None:
    before = sys.stdout, sys.stderr
    try:
        with quiet():
            print("about to fail")
            raise ValueError
    except ValueError:
        pass
    assert (sys.stdout, sys.stderr) == before
    assert streams().out is before[0]
    assert noise() == "about to fail"


def test_what_was_said_with_an_unexpected_error_is_shown() -> None:
    program = """
import gemcut.doctor, os, sys
from gemcut.cli import main
def examine():
    os.write(2, b"a native library's last words\\n")
    raise RuntimeError("broken")
gemcut.doctor.examine = examine
sys.exit(main(["doctor"]))
"""
    done = run(program)
    assert done.returncode == 1
    assert "the libraries said:\n  a native library's last words" in done.stderr
