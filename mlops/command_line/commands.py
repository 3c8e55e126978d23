"""What each command of `python -m mlops` does: it takes the parsed options and returns the exit status.

Imports are inside the functions, so that `--help` and usage errors do not wait for xgboost and mlflow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from mlops import config
from mlops.config import Settings
from mlops.errors import ConfigError, PromotionError
from mlops.month import Month


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Values of the settings for which the command has an option."""
    return {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}


def train(options: argparse.Namespace) -> int:
    """Train, test and register a model for one month, or print what a run would do."""
    settings = Settings.parse(_given(options))
    from mlops.data import ingest
    from mlops.pipeline import leaderboard, steps

    if options.dry_run:
        print(ingest.describe_plan(settings))
        return 0
    print(leaderboard.as_text(steps.train(settings)))
    return 0


def backfill(options: argparse.Namespace) -> int:
    """Train, test and judge each month of a range."""
    first, last = (Month.parse(month) for month in (options.first, options.last))
    if last < first:
        raise ConfigError(f"--to: expected {first} or a later month; got {last}")
    from mlops.operations import backfill
    from mlops.pipeline import leaderboard

    done = 0
    for result in backfill.backfill(Settings.parse(_given(options)), first, last):
        print(leaderboard.as_text(result, trials=0), end="\n\n", flush=True)
        done += 1
    print(
        f"{options.service} {first} to {last}: all judged, {done} of {len(Month.range(first, last))} in this run"
    )
    return 0


def replay(options: argparse.Namespace) -> int:
    """Backtest policies on past months."""
    settings = Settings.parse(_given(options))
    from mlops.operations import policies

    chosen = policies.parse(options.cadences, options.windows, options.gates)
    from mlops.operations import backtest

    print(backtest.replay(settings, options.first, options.last, chosen, options.output))
    return 0


def score(options: argparse.Namespace) -> int:
    """Predict the durations of all requests in files, with a registered version."""
    from mlops.scoring.settings import ScoringSettings

    given = {name: getattr(options, name) for name in ScoringSettings.model_fields}
    settings = ScoringSettings.parse(given)
    from mlops.scoring import score

    print(score.as_text(score.score(settings)))
    return 0


def monitor(options: argparse.Namespace) -> int:
    """Compare a month or each month of a range, estimate one without durations, or write the history page."""
    from mlops.monitoring.asked import Asked

    asked = Asked.parse(vars(options))
    from mlops.monitoring import by_command

    for text in by_command.answer(asked):
        print(text, flush=True)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a model's champion."""
    from mlops.registry import listings

    print(listings.describe_champion(_model(options, "as in `show MODEL`")))
    return 0


def registry(options: argparse.Namespace) -> int:
    """List a model's versions, or its champion on a day."""
    from mlops.registry import listings

    name = _model(options)
    print(listings.as_of(name, options.as_of) if options.as_of else listings.listing(name))
    return 0


def experiments(options: argparse.Namespace) -> int:
    """List the experiments of one model or of all."""
    from mlops.registry import client, experiment_list, experiments, operator

    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)
    model = options.model or ""
    found = experiments.list_all(model)
    if model and not found:
        operator.registered_model(model)  # an error names the models that there are
    print(experiment_list.as_json(found) if options.json else experiment_list.as_text(found, model))
    return 0


def promote(options: argparse.Namespace) -> int:
    """Make a version champion."""
    from mlops.operations import by_hand

    print(by_hand.promote(_model(options), options.version, options.reason, _agree(options)))
    return 0


def approve(options: argparse.Namespace) -> int:
    """Make the version champion that waits for approval."""
    from mlops.registry import operator

    print(operator.approve(_model(options), options.version, options.reason))
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Make an earlier champion the champion again."""
    from mlops.operations import by_hand

    print(by_hand.rollback(_model(options), options.reason, options.to))
    return 0


def trust(options: argparse.Namespace) -> int:
    """Sign versions that an older release, or another machine, registered."""
    name = _model(options)
    from mlops.registry import trust

    signed = trust.sign(name, options.version, _agree_to_sign(options))
    for version in signed:
        print(f"{version.uri} is signed; its code can run on this machine now")
    if not signed:
        print(f"{name}: nothing to do; signed already: {options.version}")
    return 0


def reproduce(options: argparse.Namespace) -> int:
    """Train a version again and compare its predictions."""
    from mlops.operations import reproduce

    found = reproduce.reproduce(_model(options), options.version, options.source)
    print(found)
    return 0 if found.is_same else 1


def doctor(options: argparse.Namespace) -> int:
    """Print the findings of a check-up; status 1 while a problem is open, 3 if something was not checked."""
    from mlops.operations.doctor import checkup

    found = []
    for finding in checkup.check_up(resume=options.resume):
        print(f"{finding.label}\t{finding.text}", flush=True)
        found.append(finding)
    return checkup.exit_status(found)


def tidy(options: argparse.Namespace) -> int:
    """Delete what is old, or list it."""
    from mlops.operations.retention import cleanup

    limits = cleanup.Retention.parse({"keep_days": options.keep_days, "dry_run": options.dry_run})
    found = cleanup.find_leftovers(limits)
    if limits.dry_run and len(found):
        print(found.to_string(index=False), end="\n\n")
    summary = cleanup.delete_leftovers(found, limits)
    print(summary.to_string(index=False) if len(found) else f"nothing is older than {limits.keep_days} days")
    return 0


def _agree(options: argparse.Namespace) -> Callable[[str], None]:
    """What is done about a verdict that speaks against a promotion; it raises unless a person agrees."""
    from mlops.registry import operator

    if options.yes:
        return lambda objection: None
    return _ask if sys.stdin and sys.stdin.isatty() else operator.require_yes


def _ask(objection: str, question: str = "Make it champion all the same?") -> None:
    print(f"{objection}\n{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PromotionError("not agreed; nothing was changed")


def _agree_to_sign(options: argparse.Namespace) -> Callable[[str], None]:
    """What is done about the meaning of a signature; it raises unless a person agrees."""

    def agree(meaning: str) -> None:
        if options.yes:
            print(meaning, file=sys.stderr)
        elif sys.stdin and sys.stdin.isatty():
            _ask(meaning, "Sign them?")
        else:
            raise ConfigError(f"{meaning}\nNobody can be asked without a terminal: give --yes to sign them")

    return agree


def _model(options: argparse.Namespace, how: str = "with --model") -> str:
    """Name of the registered model that a command works on, after connecting to the tracking server.

    `how` says how the command names one, for the error.
    """
    from mlops.registry import client, operator

    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)
    return operator.registered_model(options.model) if options.model else operator.only_model(how)
