"""GitLab's runner, as far as our template needs it: one bash script of a job's lines, with the service's variables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support.ci.github import load

KEYWORDS = {"variables", "stages", "default", "include", "workflow"}


def expanded(value: Any, variables: dict[str, str]) -> str:
    """``$NAME`` and ``${NAME}`` in a variable's value, as GitLab expands them."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], ""), str(value))


def run_job(path: Path, job: str, project: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs ``before_script`` and ``script`` of one job.

    Args:
        path: The template.
        job: Its name there.
        project: The working directory, ``CI_PROJECT_DIR``.
        environment: Of the machine; variables set here win over the template's, as a pipeline's own do.
    """
    template = load(path)
    found = template[job]
    service = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_PROJECT_DIR": str(project),
        "CI_JOB_NAME": job,
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_COMMIT_REF_NAME": "main",
    }
    own = {
        key: expanded(value, {**service, **environment})
        for part in (template, found)
        for key, value in part.get("variables", {}).items()
    }
    lines = [*found.get("before_script", []), *found["script"]]
    script = "set -eo pipefail\n" + "\n".join(lines) + "\n"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=project,
        env={**own, **environment, **service},
        capture_output=True,
        text=True,
        check=False,
    )


def jobs(path: Path) -> list[str]:
    """The jobs of a template."""
    return [name for name in load(path) if name not in KEYWORDS and not name.startswith(".")]
