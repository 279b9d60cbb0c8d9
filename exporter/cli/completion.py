"""``gemcut completion``."""

from __future__ import annotations

import click

from .common import Command, emit, json_option, say

SHELLS = ("bash", "zsh", "fish")
# Where a shell's users put what makes it load the script, and the words for it.
HOW = """\b
  bash   add to ~/.bashrc:  eval "$(gemcut completion bash)"
  zsh    add to ~/.zshrc, after compinit:  eval "$(gemcut completion zsh)"
  fish   gemcut completion fish > ~/.config/fish/completions/gemcut.fish"""


@click.command(cls=Command, epilog=HOW)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the script with which SHELL completes gemcut's commands, flags and values.

    Values are targets, recipes, runtimes, devices, bundles below this folder, bundles of gemcut.toml, checkpoints, and
    what the hub's cache holds. Bash must be 4.4 or later.
    """
    from click.shell_completion import get_completion_class

    from .list_documents import CompletionScript

    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root()
    script = kind(root.command, {}, "gemcut", "_GEMCUT_COMPLETE").source()
    if as_json:
        emit(CompletionScript(shell, script))
    else:
        say(script)
