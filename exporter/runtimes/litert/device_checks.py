"""What an app gets from LiteRT-LM's own engine on a device: its greedy tokens against the Interpreter's there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConformanceError, LackingError
from ...prove.behaviour import Check, Miss
from ...prove.conformance import compare
from ...prove.golden import Golden, Recorded
from ...util.processes import Finished

if TYPE_CHECKING:
    from ...bundle.reader import Bundle
    from ..base import Ask

PROMPTS = 3  # the shortest: each takes seconds under emulation, and the exporting machine's engine runs all of them
PROGRAM = "identity.litertlm"
CACHE = "engine-cache"
JOB = "engine.json"
_TAIL = 3


def check_engine(bundle: Bundle, goldens: Sequence[Golden], device: Sequence[Recorded], work: Path, ask: Ask) -> Check:
    """Compare the engine's replies to the ``PROMPTS`` shortest goldens, through a bundle whose tokenizer takes ids.

    Args:
        bundle: The bundle, with a ``.litertlm``.
        goldens: All of its goldens.
        device: What the Interpreter gave on this device.
        work: A scratch folder on this machine; the files for the device are written there.
        ask: Runs the golden runner on the device, with files in its folder.

    Returns:
        ``engine_tokens``: the replies are the Interpreter's, or part from them at a tie (``prove.conformance``).

    Raises:
        ConformanceError: The engine crashes, or refuses the program.
        LackingError: It can't be loaded.
    """
    from .id_tokenizer import write_identity

    replying = [index for index, one in enumerate(device) if one.greedy_ids]
    chosen = sorted(replying, key=lambda i: len(goldens[i].prompt_ids) + len(device[i].greedy_ids))[:PROMPTS]
    if not chosen:
        return Check("engine_tokens", 0, 1.0, ())
    write_identity(bundle.program, work / PROGRAM, bundle.manifest.vocab_size)
    job = {
        "task": "greedy",
        "prompts": [list(goldens[index].prompt_ids) for index in chosen],
        "max_new": [len(device[index].greedy_ids) for index in chosen],
        "program": PROGRAM,
        "cache": CACHE,
        "threads": 1,
    }
    (work / JOB).write_text(json.dumps(job), encoding="utf-8")
    replies = _replies(ask(("engine", JOB), (work / PROGRAM, work / JOB)))
    if len(replies) != len(chosen):
        raise ConformanceError(f"LiteRT-LM's engine answered {len(replies)} of {len(chosen)} prompts")
    misses = []
    for index, reply in zip(chosen, replies, strict=True):
        same = replace(device[index], greedy_ids=tuple(reply))
        found = compare([goldens[index]], [device[index]], [same])
        misses += [Miss(goldens[index].prompt.id, failure) for failure in found.failures]
    return Check("engine_tokens", len(chosen), 1.0, tuple(misses))


def _replies(done: Finished) -> list[list[int]]:
    """The worker's replies.

    Raises:
        ConformanceError: The engine crashed, or refused the program.
        LackingError: The engine can't be loaded.
    """
    answer: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        with suppress(ValueError):
            answer.update(json.loads(line))
    log = " / ".join(done.stderr.strip().splitlines()[-_TAIL:])
    if done.signal:
        raise ConformanceError(f"LiteRT-LM's engine crashed on the device (signal {done.signal}): {log}")
    if "lacking" in answer:
        raise LackingError(f"on the device {answer['lacking']}", hint="fetch it with gemcut devices setup arm64-user")
    if "refused" in answer:
        raise ConformanceError(f"LiteRT-LM refuses the program on the device: {answer['refused']}")
    if "result" not in answer:
        raise ConformanceError(f"LiteRT-LM's engine ended with exit code {done.code} on the device: {log}")
    replies: list[list[int]] = answer["result"]
    return replies
