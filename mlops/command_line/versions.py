"""Commands about the registry: what is in it, and moves of the alias `champion`."""

from __future__ import annotations

import argparse
from typing import Any

from mlops.command_line.arguments import AS_JSON, add_command, add_model
from mlops.command_line.consent import agreement, agreement_to_sign, connect, model_of
from mlops.command_line.printing import print_json, print_text
from mlops.errors import command


def add(parsers: Any) -> None:
    """Add these commands to the parser."""
    _add_show(parsers)
    _add_registry(parsers)
    _add_moves(parsers)
    _add_experiments(parsers)
    _add_trust(parsers)


def _add_show(parsers: Any) -> None:
    show = add_command(
        parsers,
        "show",
        "Print a model's champion, its metrics and its baseline; without a name, a line for each model.",
        examples="""\
  python -m mlops show
  python -m mlops show trip-duration-green --json""",
    )
    show.add_argument("model", nargs="?", metavar="MODEL", help="Registered model. (default: all)")
    show.add_argument("--json", action="store_true", help=AS_JSON)
    show.set_defaults(act=run_show)


def _add_registry(parsers: Any) -> None:
    registry = add_command(
        parsers,
        "registry",
        "List a model's versions: months, RMSE, verdict, aliases and alias moves.",
        examples="""\
  python -m mlops registry --model trip-duration-green
  python -m mlops registry --as-of 2026-10-03""",
    )
    registry.add_argument(
        "--as-of",
        metavar="DATE",
        help="Show only the champion of this day, YYYY-MM-DD or ISO 8601 time in UTC, and its data.",
    )
    registry.add_argument("--json", action="store_true", help=AS_JSON)
    add_model(registry, run_registry)


def _add_moves(parsers: Any) -> None:
    verified = "The version is verified first."
    promote = add_command(
        parsers,
        "promote",
        "Make a version the champion by hand.",
        f'{verified} If its verdict is not "promote", the verdict is shown and you are asked.',
        '  python -m mlops promote 3 --reason "fewer complaints from the airport"',
    )
    promote.add_argument("version", help="Number of the version.")
    promote.add_argument("--yes", action="store_true", help="Override the verdict without being asked.")
    add_model(promote, run_promote)
    approve = add_command(
        parsers,
        "approve",
        "Make the version champion that waits for approval.",
        f"Versions wait only with the setting require_approval; `registry` says which one waits. {verified}",
        '  python -m mlops approve 3 --reason "looked at its card"',
    )
    approve.add_argument("version", help="Number of the version.")
    add_model(approve, run_approve)
    rollback = add_command(
        parsers,
        "rollback",
        "Make an earlier champion the champion again.",
        verified,
        """\
  python -m mlops rollback --reason "complaints from the airport"
  python -m mlops rollback --to 1 --reason "complaints from the airport\"""",
    )
    rollback.add_argument(
        "--to", metavar="VERSION", help="Number of an earlier champion. (default: the previous champion)"
    )
    add_model(rollback, run_rollback)
    for mover in (promote, approve, rollback):
        mover.add_argument("--reason", required=True, help="Why; written to the journal of alias moves.")


def _add_experiments(parsers: Any) -> None:
    experiments = add_command(
        parsers,
        "experiments",
        "List experiments: RMSE beside the champion's, verdict, and what differs from the champion's run.",
        "An experiment is a run with --experiment NAME. It is judged like any other, and never registered.",
        """\
  python -m mlops train --experiment "short trips" --train-months 3
  python -m mlops experiments""",
    )
    experiments.add_argument("--model", metavar="NAME", help="Only those of this model. (default: all)")
    experiments.add_argument("--json", action="store_true", help=AS_JSON)
    experiments.set_defaults(act=run_experiments)


def _add_trust(parsers: Any) -> None:
    trust = add_command(
        parsers,
        "trust",
        "Sign versions that an older release or another machine registered.",
        """\
A version carries Python code, so only versions that are signed with the key of this machine (registry.key in the
state folder) are loaded. Each run signs its own version. The versions are shown, and you are asked.""",
        "  python -m mlops trust all --model trip-duration-green",
    )
    trust.add_argument(
        "version", metavar="VERSION|all", help="Number of the version, or all that are not signed."
    )
    trust.add_argument("--yes", action="store_true", help="Sign them without being asked.")
    add_model(trust, run_trust)


def run_show(options: argparse.Namespace) -> int:
    """Print a model's champion, or a line for each model."""
    if options.model:
        return _show_one(options, model_of(options))
    connect()
    from mlops.command_line import version_texts
    from mlops.registry import listings

    found = listings.summaries()
    if options.json:
        print_json(found)
        return 0
    if len(found) == 1 and found[0].champion:
        only = listings.champion(found[0].model)
        # What was noticed first is noticed no more.
        version_texts.print_only(found[0], only.model_copy(update={"differences": found[0].differences}))
    else:
        version_texts.print_summaries(found)
        print_text(f"more about one of them: {command('show MODEL')}", indent=2)
    return 0


def _show_one(options: argparse.Namespace, name: str) -> int:
    from mlops.command_line import version_texts
    from mlops.registry import listings

    found = listings.champion(name)
    print_json(found) if options.json else version_texts.print_champion(found)
    return 0


def run_registry(options: argparse.Namespace) -> int:
    """List a model's versions, or its champion on a day."""
    name = model_of(options)
    from mlops.command_line import version_texts
    from mlops.registry import listings, past_champions

    if options.as_of:
        past = past_champions.champions_of(name, options.as_of)
        print_json(past) if options.json else version_texts.print_champions_of(past)
    else:
        found = listings.listing(name)
        print_json(found) if options.json else version_texts.print_listing(found)
    return 0


def run_experiments(options: argparse.Namespace) -> int:
    """List the experiments of one model or of all."""
    connect()
    from mlops.command_line import experiment_texts
    from mlops.registry import experiment_list, operator

    model = options.model or ""
    found = experiment_list.list_all(model)
    if model and not found:
        operator.registered_model(model)  # an error names the models that there are
    print_json(found) if options.json else experiment_texts.print_experiments(found, model)
    return 0


def run_promote(options: argparse.Namespace) -> int:
    """Make a version champion."""
    from mlops.operations import by_hand

    print(by_hand.promote(model_of(options), options.version, options.reason, agreement(options)))
    return 0


def run_approve(options: argparse.Namespace) -> int:
    """Make the version champion that waits for approval."""
    from mlops.registry import operator

    print(operator.approve(model_of(options), options.version, options.reason))
    return 0


def run_rollback(options: argparse.Namespace) -> int:
    """Make an earlier champion the champion again."""
    from mlops.operations import by_hand

    print(by_hand.rollback(model_of(options), options.reason, options.to))
    return 0


def run_trust(options: argparse.Namespace) -> int:
    """Sign versions that an older release, or another machine, registered."""
    name = model_of(options)
    from mlops.registry import trust

    signed = trust.sign(name, options.version, agreement_to_sign(options))
    for version in signed:
        print(f"{version.uri} is signed; its code can run on this machine now")
    if not signed:
        print(f"{name}: nothing to do; signed already: {options.version}")
    return 0
