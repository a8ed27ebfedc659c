"""Scripts that let a shell complete the commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish")


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser], others: Mapping[str, str]) -> str:
    """Return the script for a shell; `others` are the commands of the service with their help."""
    options = {
        name: sorted({option for action in parser._actions for option in action.option_strings})  # noqa: SLF001
        for name, parser in parsers.items()
    }
    names = " ".join([*options, *others])
    if shell == "fish":
        lines = [f"complete -c fanin -f -n __fish_use_subcommand -a '{names}'"]
        for name, known in options.items():
            for option in known:
                flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
                lines.append(f"complete -c fanin -n '__fish_seen_subcommand_from {name}' {flag}")
        return "\n".join(lines)
    cases = "\n".join(f"    {name}) words='{' '.join(known)}' ;;" for name, known in options.items())
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{head}_fanin() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words='{names}'
  if [ "$COMP_CWORD" -gt 1 ]; then
    case ${{COMP_WORDS[1]}} in
{cases}
    *) words= ;;
    esac
    case $word in -*) ;; *) mapfile -t COMPREPLY < <(compgen -f -- "$word"); compopt -o filenames; return ;; esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F _fanin fanin"""
