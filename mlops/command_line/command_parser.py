"""A parser with short usage and errors that name the nearest word, and help that fits the terminal."""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

NEAR = 0.6  # similarity from which a word is suggested
SHORTEST_START = 4  # characters of a word that counts as the start of another, with the dashes of an option


class HelpFormatter(argparse.HelpFormatter):
    """Paragraphs are wrapped to the width of the terminal; indented lines, such as examples, are kept."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        return "".join(map(self._format_action, action._get_subactions()))  # without a line for all of them

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(fitted(text, width))


class CommandParser(argparse.ArgumentParser):
    """A parser whose usage is one line, and whose errors name the nearest word."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{**named, "formatter_class": HelpFormatter, "allow_abbrev": False})

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options, such as ``--service``."""
        return tuple(name for action in self._actions for name in action.option_strings)

    def shorten_usage(self) -> None:
        """From now on, the usage has the required arguments only: this is called when all arguments are there."""
        required = [action for action in self._actions if action.required or not action.option_strings]
        words = [_usage_of(action) for action in required]
        optional = len(required) < len(self._actions)
        self.usage = " ".join(["%(prog)s", *words, *(["[OPTIONS]"] if optional else [])])

    def error(self, message: str) -> NoReturn:
        """End the process with status 2, the short usage and the message."""
        self.exit(2, f"{self.format_usage()}{self.prog} --help shows more\n{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        what = (
            "command"
            if isinstance(action, argparse._SubParsersAction)
            else str(action.metavar or action.dest)
        )
        self.error(
            f"unknown {what} {value!r}; {suggestion(str(value), names) or f'expected {listed(names)}'}"
        )


def commands_of(made: CommandParser) -> Mapping[str, CommandParser]:
    """The parsers of the commands by name."""
    found: Mapping[str, CommandParser] = next(
        action.choices for action in made._actions if isinstance(action, argparse._SubParsersAction)
    )
    return found


def require_known_options(
    command: CommandParser, words: Sequence[str], others: Mapping[str, CommandParser]
) -> None:
    """End the process with status 2 if a word is an option that the command does not have.

    This is done before parsing, so that a misspelt option is named, and not the required one that is missing then.

    Parameters
    ----------
    command : CommandParser
        The command that is called.
    words : sequence of str
        The words after its name.
    others : mapping of str to CommandParser
        All commands by name.
    """
    for option in _options_in(words):
        if option not in command.options:
            hint = suggestion(option, command.options)
            having = [name for name, other in others.items() if option in other.options]
            if having:
                every = "options come after the command" if len(having) == len(others) else ""
                hint = every or f"it is an option of {listed(having, 'and')}"
            command.error(f"unknown option {option}{hint and '; '}{hint}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Question for the known word that starts so, or else is nearest; empty if none is near.

    Examples
    --------
    >>> suggestion("trian", ["train", "tidy"]), suggestion("xyz", ["train"])
    ('did you mean train?', '')
    """
    names = [*known]
    near = [name for name in names if len(word) >= SHORTEST_START and name.startswith(word)]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=NEAR)
    return f"did you mean {near[0]}?" if near else ""


def listed(names: Sequence[str], last: str = "or") -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["train"]), listed(["train", "tidy"], "and"), listed(["bash", "zsh", "tcsh"])
    ('train', 'train and tidy', 'bash, zsh or tcsh')
    """
    *before, end = names
    return f"{', '.join(before)} {last} {end}" if before else end


def fitted(text: str, width: int) -> Iterator[str]:
    r"""Lines of a text, none wider than `width` where words can be wrapped.

    A paragraph is wrapped. An indented line is kept; where it explains a term, after two spaces or more, the
    explanation is wrapped below itself.

    Examples
    --------
    >>> list(fitted("one two\nthree\n  NAME  a b c", 10))
    ['one two', 'three', '  NAME  a', '        b', '        c']
    """
    for is_paragraph, lines in itertools.groupby(text.splitlines(), lambda line: line[:1].strip() != ""):
        if is_paragraph:
            yield from textwrap.wrap(" ".join(lines), width, break_on_hyphens=False)
            continue
        for line in lines:
            term = re.match(r" +\S+ {2,}(?!#)", line)
            yield from textwrap.wrap(line, width, subsequent_indent=" " * len(term[0])) if term else [line]


def _usage_of(action: argparse.Action) -> str:
    shown = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    if action.option_strings:
        return f"{action.option_strings[-1]} {shown}"
    return str(shown) if action.required else f"[{shown}]"


def _options_in(words: Sequence[str]) -> Iterator[str]:
    """Words that are options, without their values; none after ``--``. Numbers and texts with a space are none."""
    for word in words:
        if word == "--":
            return
        name = word.partition("=")[0]
        if re.fullmatch(r"--?[^\W\d][\w-]*", name):
            yield name
