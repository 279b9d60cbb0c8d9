"""Completion in shells: what a press of the key offers, in the shells themselves, and that it is quick."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from gemcut.cli import COMMANDS, cli, main
from gemcut.cli.completion import SHELLS
from gemcut.quantize.recipe import list_recipes
from gemcut.target import list_targets

# Flags whose values are numbers, texts of the user's own, or sizes.
FREE = {"SIZE", "NATS", "SECONDS", "N", "N[,N]", "DAYS", "TEXT"}


def offered(*words: str) -> list[str]:
    """What is offered for the last word; a type in front of what the shell itself completes."""
    complete = ShellComplete(cli, {}, "gemcut", "_GEMCUT_COMPLETE")
    found = complete.get_completions(list(words[:-1]), words[-1])
    return [each.value if each.type == "plain" else f"{each.type}:{each.value}" for each in found]


def parameters() -> list[tuple[str, click.Parameter]]:
    """Every flag and argument of every command."""

    def of(command: click.Command, name: str) -> list[tuple[str, click.Parameter]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            below = [(each, command.get_command(context, each)) for each in command.list_commands(context)]
            return [pair for each, one in below if one is not None for pair in of(one, f"{name} {each}")]
        return [(f"{name} {each.name}", each) for each in command.params]

    return of(cli, "gemcut")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two bundles, a checkpoint, a project, and a cache of the hub."""
    for place in ("bundles/one", "bundles/deeper/two", ".hidden/three", "node_modules/four"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "manifest.json").touch()
    (tmp_path / "packed.gemcut").touch()
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").touch()
    (tmp_path / "gemcut.toml").write_text("[bundles.chat]\n[bundles.tools]\n")
    (tmp_path / "hub" / "models--google--gemma-3-270m-it").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_their_parts_are_offered() -> None:
    assert offered("") == list(COMMANDS)
    assert offered("re") == ["recipes"]
    assert offered("cache", "") == ["info", "prune"]
    assert "--target" in offered("export", "--")
    assert offered("recipes", "s") == ["search", "sensitivity", "show"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("export", "--target", ""), list(list_targets())),
        (("plan", "--recipe", ""), list(list_recipes())),
        (("recipes", "show", "bal"), ["balanced"]),
        (("export", "--runtime", "executorch,"), ["executorch,litert"]),
        (("validate", "x", "--on", "android-lib-"), ["android-lib-arm64"]),
        (("devices", "setup", "h"), []),
        (("export", "--gate", "r"), ["report"]),
        (("export", "--calibration", "q"), ["quick"]),
        (("export", "--calibration", "mine"), ["file:mine"]),
        (("export", "--adapter", "mine"), ["dir:mine"]),
        (("cache", "prune", "--kind", "prog"), ["programs"]),
        (("diff", "a", "b", "--fail-on", "size,mean"), ["size,mean_kl"]),
        (
            ("check", "b", "--runtime", "litertlm-android==0.10."),
            ["litertlm-android==0.10.2", *(f"litertlm-android==0.10.{at}" for at in (1, 0))],
        ),
        (("completion", ""), list(SHELLS)),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_values_are_offered(words: tuple[str, ...], found: list[str]) -> None:
    assert offered(*words) == found


@pytest.mark.parametrize("command", ["inspect", "validate", "chat", "bench", "rm", "check", "eval", "diff"])
def test_bundles_below_the_folder_are_offered(command: str, folder: Path) -> None:
    assert offered(command, "") == ["packed.gemcut", "bundles/one", "bundles/deeper/two"]
    assert offered(command, "bundles/o") == ["bundles/one"]
    assert offered(command, f"{folder}/bundles/d") == [f"{folder}/bundles/deeper/two"]
    assert offered(command, "elsewhere/") == ["file:elsewhere/"]


def test_a_bundle_that_is_given_is_followed_by_another(folder: Path) -> None:
    assert offered("diff", "bundles/one", "p") == ["packed.gemcut"]
    assert offered("bench", "bundles/one", "bundles/one", "p") == ["packed.gemcut"]


def test_models_and_the_project_s_bundles_are_offered(folder: Path) -> None:
    assert offered("export", "") == ["tuned", "google/gemma-3-270m-it"]
    assert offered("plan", "goo") == ["google/gemma-3-270m-it"]
    assert offered("export", "./t") == ["./tuned"]
    assert offered("export", "--only", "") == ["chat", "tools"]
    (folder / "gemcut.toml").write_text("[bundles")
    assert offered("export", "--only", "") == []


def test_every_flag_that_takes_a_name_or_a_file_completes_it() -> None:
    bare = [
        name
        for name, each in parameters()
        if isinstance(each.type, click.types.StringParamType)
        and each.metavar not in FREE
        and not (isinstance(each, click.Option) and each.is_flag)
        and each._custom_shell_complete is None
    ]
    assert bare == []


def test_completing_loads_nothing_heavy(folder: Path) -> None:
    program = (
        "import sys; from tests.unit.cli.test_cli_completion import offered\n"
        "for words in (['inspect', ''], ['export', '--target', ''], ['export', '--recipe', ''], ['export', '']): "
        "offered(*words)\n"
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'executorch', 'rich'}))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def complete_in(shell: str, folder: Path) -> str:
    """What a shell itself has found for ``gemcut inspect bundles/o``, by the script that gemcut prints."""
    programs = {
        "bash": 'eval "$(gemcut completion bash)"\nCOMP_WORDS=(gemcut inspect bundles/o) COMP_CWORD=2\n'
        '_gemcut_completion gemcut\nprintf "%s\\n" "${COMPREPLY[@]}"',
        "fish": 'gemcut completion fish | source\ncomplete --do-complete "gemcut inspect bundles/o"',
    }
    done = subprocess.run(
        [shell, "--norc" if shell == "bash" else "--no-config", "-c", programs[shell]],
        cwd=folder,
        env={**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        start_new_session=True,  # a shell may stop its whole group of processes while it looks for a terminal
    )
    return done.stdout.strip()


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_shell_completes(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert complete_in(shell, folder) == "bundles/one"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_and_is_a_document_too(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_GEMCUT_COMPLETE" in script
    assert main(["completion", shell, "--json"]) == 0
    found: Any = json.loads(capsys.readouterr().out)
    assert (found["shell"], found["script"]) == (shell, script[:-1])


def test_another_shell_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
