"""lm-evaluation-harness with a bundle, or its float model, as the language model.

https://github.com/EleutherAI/lm-evaluation-harness; its ``LM`` interface is that of release 0.4.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LackingError, UnsupportedError, UsageError, nearest
from ..util.packages import install_command
from ..util.progress import Progress

if TYPE_CHECKING:
    from .scoring import Model

_SUFFIXES = (".yaml", ".yml")
_REPLY = 256  # tokens of a reply, if the task doesn't say


@dataclass(frozen=True)
class Asked:
    """What to evaluate.

    Attributes:
        tasks: Names of the harness' tasks, or YAML files of the user's own.
        limit: Documents of each task; None for all.
        shots: Examples before each question; None for the task's own number.
        chat: Whether prompts go through the chat template.
    """

    tasks: tuple[str, ...]
    limit: int | None = None
    shots: int | None = None
    chat: bool = False


@dataclass(frozen=True)
class Score:
    """One figure of one task.

    Attributes:
        task: The task's name.
        metric: The figure's name, with its filter if that isn't 'none'.
        value: The figure.
        error: Its standard error; None if it has none.
        documents: How many documents it is of.
    """

    task: str
    metric: str
    value: float
    error: float | None
    documents: int


def prepare(asked: Asked) -> Any:
    """Find all tasks, before a model is loaded.

    Raises:
        LackingError: The harness isn't installed.
        UnsupportedError: A task is unknown; the message has the nearest.
        UsageError: A task's file can't be read, or has no name.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise LackingError("lm-evaluation-harness isn't installed.", hint=install_command("eval")) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    files = [Path(task) for task in asked.tasks if task.endswith(_SUFFIXES)]
    for file in files:
        if not file.is_file():
            raise UsageError(f"--task {file}: no such file")
    manager = TaskManager(include_path=sorted({str(file.resolve().parent) for file in files}) or None)
    names = [_name_in(Path(task)) if task.endswith(_SUFFIXES) else task for task in asked.tasks]
    for name in names:
        if name not in manager.all_tasks:
            raise UnsupportedError(
                f"unknown task '{name}': {nearest(name, manager.all_tasks)}",
                hint="Name a task of lm-evaluation-harness (lm_eval ls tasks lists them), or a YAML file.",
            )
    return names, manager


def _name_in(file: Path) -> str:
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--task {file}: {error}") from error
    name = data.get("task") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise UsageError(f"--task {file}: it doesn't name its task", hint="Give it a line such as task: my_questions.")
    return name


def evaluate(model: Model, prepared: Any, asked: Asked, progress: Progress) -> tuple[Score, ...]:
    """Run tasks on a model.

    Args:
        model: The bundle, or its float model.
        prepared: From ``prepare``.
        asked: What to evaluate.
        progress: Told of each request.

    Raises:
        LackingError: A task's data can't be fetched.
        UnsupportedError: A task asks for sampling, which isn't reproducible.
    """
    from lm_eval import simple_evaluate

    names, manager = prepared
    try:
        found = simple_evaluate(
            model=_language_model(model, progress),
            tasks=list(names),
            num_fewshot=asked.shots,
            limit=asked.limit,
            apply_chat_template=asked.chat,
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=False,
        )
    except (ConnectionError, FileNotFoundError) as error:
        raise LackingError(
            f"the data of a task can't be read: {error}",
            hint="The harness fetches its own tasks' data from the hub; a task with local files needs no network.",
        ) from error
    return tuple(_scores(found))


def _scores(found: Mapping[str, Any]) -> list[Score]:
    out = []
    for task, figures in found["results"].items():
        count = int(found.get("n-samples", {}).get(task, {}).get("effective", 0))
        for key, value in figures.items():
            metric, _, named = key.partition(",")
            if not isinstance(value, int | float) or not named or metric.endswith("_stderr"):
                continue
            error = figures.get(f"{metric}_stderr,{named}")
            title = metric if named == "none" else f"{metric}, {named}"
            out.append(
                Score(task, title, float(value), float(error) if isinstance(error, int | float) else None, count)
            )
    return out


def _language_model(model: Model, progress: Progress) -> Any:
    from lm_eval.api.model import LM

    class Bundle(LM):  # type: ignore[misc]
        """The harness' interface over ``Model``."""

        tokenizer_name = "gemcut"

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            out = []
            for at, request in enumerate(requests):
                progress.update(at, len(requests), f"scoring {at + 1} of {len(requests)}")
                scored = model.score(*request.args)
                out.append((scored.logprob, scored.greedy))
            return out

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            out = []
            for at, request in enumerate(requests):
                progress.update(at, len(requests), f"scoring {at + 1} of {len(requests)}")
                out.append(model.score_whole(*request.args))
            return out

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            out = []
            for at, request in enumerate(requests):
                progress.update(at, len(requests), f"answering {at + 1} of {len(requests)}")
                context, options = request.args
                out.append(model.reply(context, _until(options), int(options.get("max_gen_toks", _REPLY))))
            return out

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return model.codec.render(chat_history, None, add_generation_prompt)

        def chat_template(self, chat_template: bool | str = False) -> str:
            return "bundle"

    return Bundle()


def _until(options: Mapping[str, Any]) -> tuple[str, ...]:
    if options.get("do_sample") or float(options.get("temperature") or 0.0) > 0:
        raise UnsupportedError(
            "The task asks for sampling; Gemcut evaluates greedily.",
            hint="Set do_sample: false and temperature: 0.0 in the task's generation_kwargs.",
        )
    until = options.get("until") or ()
    return (until,) if isinstance(until, str) else tuple(until)
