"""The model that a command works on, and what a person agrees to before it acts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, PromotionError


def model_of(options: argparse.Namespace) -> str:
    """Name of the registered model that a command works on, after connecting to the tracking server."""
    connect()
    from mlops.registry import operator

    return operator.registered_model(options.model) if options.model else operator.only_model()


def connect() -> None:
    """Connect to the tracking server, or open the local store.

    Raises
    ------
    TrackingError
        When the server does not answer as expected.
    """
    from mlops.registry import client

    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)


def agreement(options: argparse.Namespace) -> Callable[[str], None]:
    """What is done about a verdict that speaks against a promotion; it raises unless a person agrees."""
    from mlops.registry import operator

    if options.yes:
        return lambda objection: None
    return _ask if sys.stdin and sys.stdin.isatty() else operator.require_yes


def agreement_to_sign(options: argparse.Namespace) -> Callable[[str], None]:
    """What is done about the meaning of a signature; it raises unless a person agrees."""

    def agree(meaning: str) -> None:
        if options.yes:
            print(meaning, file=sys.stderr)
        elif sys.stdin and sys.stdin.isatty():
            _ask(meaning, "Sign them?")
        else:
            raise ConfigError(f"{meaning}\nNobody can be asked without a terminal: give --yes to sign them")

    return agree


def _ask(objection: str, question: str = "Make it champion all the same?") -> None:
    print(f"{objection}\n{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PromotionError("not agreed; nothing was changed")
