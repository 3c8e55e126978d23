"""What the listings of the command line print, as a text: whole lines, as in a file or a pipe."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

from mlops.command_line import experiment_texts, version_texts
from mlops.registry import experiment_list, listings, past_champions


def printed(show: Callable[..., None], *arguments: Any) -> str:
    """What a function prints, without the last line end."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show(*arguments)
    return out.getvalue().removesuffix("\n")


def listing(name: str) -> str:
    """What `registry` prints about a model."""
    return printed(version_texts.print_listing, listings.listing(name))


def as_of(name: str, when: str) -> str:
    """What `registry --as-of` prints."""
    return printed(version_texts.print_champions_of, past_champions.champions_of(name, when))


def champion(name: str) -> str:
    """What `show` prints about a model's champion."""
    return printed(version_texts.print_champion, listings.champion(name))


def experiments(model: str = "") -> str:
    """What `experiments` prints."""
    return printed(experiment_texts.print_experiments, experiment_list.list_all(model), model)
