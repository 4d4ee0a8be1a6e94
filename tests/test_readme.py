"""What the README tells people to type is understood by the program that they type it to."""

import re
import shlex
from pathlib import Path

import pytest

from magnet_eval import cli, compose

ROOT = Path(__file__).resolve().parents[1]
CHEAP = ("--help", "--version", "list", "doctor")  # these are really run


def commands() -> list[str]:
    """The lines of the README's ```sh blocks, without prompts, comments and continuations."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def words_after(program: str) -> list[list[str]]:
    """The words behind ``program`` in every command that begins with it."""
    split = [shlex.split(line, comments=True) for line in commands()]
    return [words[1:] for words in split if words and Path(words[0]).name == program]


def test_the_readme_shows_the_main_job():
    assert ["demo"] in words_after("make")
    assert any(words[:1] == ["run"] for words in words_after("magnet-eval"))


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {word for words in words_after("make") for word in words if "=" not in word}
    assert named and named <= targets


@pytest.mark.parametrize("words", words_after("magnet-eval"), ids=shlex.join)
def test_commands_are_understood(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    name, rest = cli.verb_of(words) if words[0] in cli.VERBS or words[0] == "study" else (words[0], words[1:])
    if name in CHEAP or "--help" in words:
        assert cli.main(words) == 0
        assert capsys.readouterr().out.strip()
    elif any(word.startswith("-") for word in words):
        cli.check_flags(name, rest)
        plain = [word for word in rest if not word.startswith("-")]
        compose.check_arguments(cli.VERBS[name].options, plain)
    else:
        assert isinstance(cli.understood(name, rest), cli.VERBS[name].options)
