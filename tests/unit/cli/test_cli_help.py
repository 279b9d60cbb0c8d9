"""``--help``: complete, and quick because it loads next to nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from gemcut.cli import COMMANDS, cli, main

HEAVY = (
    "torch",
    "transformers",
    "torchao",
    "executorch",
    "pydantic",
    "numpy",
    "rich",
    "psutil",
    "huggingface_hub",
)
PROGRAM = """
import sys
from gemcut.cli import main
code = main(sys.argv[1:])
print(sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["nonsense"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    program = PROGRAM.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == (2 if words == ["nonsense"] else 0)


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, what in COMMANDS.items():
        assert name in shown
        assert what.split()[0] in shown
    assert "130 interrupted" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_has_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [name, *{"targets": ["list"], "recipes": ["list"], "devices": ["setup"], "cache": ["info"]}.get(name, [])]
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "--verbose" in shown


def test_without_words_the_help_is_shown_as_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "same"),
    [(["help"], ["--help"]), (["help", "export"], ["export", "--help"]), (["version"], ["--version"])],
)
def test_words_that_people_type_are_taken_as_they_are_meant(
    words: list[str], same: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for each in (words, same):
        assert main(each) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0]


def test_one_command_is_about_devices_and_the_other_form_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "setup", "adb"]) == 2
    assert "unknown command 'device': did you mean 'devices'?" in capsys.readouterr().err


# Flags that take something else in another command, and why.
OTHERWISE = {
    "--runtime": "check's is an app's: a release, a file, a library",
    "--output": "bench's is llama-bench's: a form; a search's file ends in .toml",
    "--prompt": "bench's is llama-bench's: how many tokens",
    "--html": "a search draws a plot, and has no report",
    "--calibration": "a search measures on text, and can't do without",
}


def flags() -> Iterator[tuple[str, str, str]]:
    """Each flag of each command, with what it takes and the command."""

    def of(command: click.Command, name: str) -> Iterator[tuple[str, str, str]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield from of(found, f"{name} {each}")
        for each in command.params:
            if isinstance(each, click.Option):
                takes = "" if each.is_flag else each.metavar or type(each.type).__name__
                yield from ((flag, takes, name) for flag in each.opts if flag.startswith("--"))

    return of(cli, "gemcut")


def test_a_flag_takes_the_same_in_every_command() -> None:
    taken: dict[str, dict[str, list[str]]] = {}
    for flag, takes, command in flags():
        taken.setdefault(flag, {}).setdefault(takes, []).append(command)
    differing = {flag: found for flag, found in taken.items() if len(found) > 1}
    assert differing.keys() == OTHERWISE.keys(), differing
