"""What a shell completes after ``lira``: commands, recipes and options, read from the sources without importing them."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

SHELLS = ("bash", "zsh")
_BASH = """_lira() {{
    local words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _lira lira
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
"""zsh runs functions of bash after this."""


def completion(shell: str, sources: Mapping[str, Path], recipes: Iterable[str]) -> str:
    """What a shell runs to complete the words after ``lira``; where nothing fits, files are completed.

    Args:
        shell: ``bash`` or ``zsh``.
        sources: each command, and the file whose parser it has.
        recipes: the names of recipes, which may follow each command.

    Raises:
        ValueError: another shell.
    """
    if shell not in SHELLS:
        raise ValueError(f"there is no completion for the shell {shell!r}, but for {' and '.join(SHELLS)}")
    after = {name: [*options_of(path), *recipes] for name, path in sources.items()}
    cases = "\n".join(f'            {name}) words="{" ".join(words)}" ;;' for name, words in after.items())
    return (_ZSH if shell == "zsh" else "") + _BASH.format(commands=" ".join(sources), cases=cases)


def options_of(path: Path) -> list[str]:
    """The options that a file adds to its parsers, such as ``--model``, in their order."""
    found = ["--debug"]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            names = [
                one.value for one in node.args if isinstance(one, ast.Constant) and str(one.value).startswith("--")
            ]
            if any("BooleanOptionalAction" in ast.unparse(keyword.value) for keyword in node.keywords):
                names += [f"--no-{name[2:]}" for name in names]
            found += names
    return list(dict.fromkeys(found))
