"""The command `notify --test`: does a message reach somebody?"""

from __future__ import annotations

import argparse
from typing import Any

from mlops.command_line.arguments import add_command
from mlops.errors import ConfigError


def add(parsers: Any) -> None:
    """Add the command to the parser."""
    notify = add_command(
        parsers,
        "notify",
        "Send a test message through every channel that unattended runs use.",
        """\
The channels are those of this state folder's stack, also while it is stopped; without a stack, those of this
environment. The address of the heartbeat is asked for, too. The exit status is 1 if a channel did not take the
message, or none is set.""",
        "  python -m mlops notify --test",
    )
    notify.add_argument("--test", action="store_true", help="Send it. The command does nothing else.")
    notify.set_defaults(act=run_notify)


def run_notify(options: argparse.Namespace) -> int:
    """Send a test message, and print what became of it in each channel."""
    if not options.test:
        raise ConfigError("notify: expected --test, which sends the test message; got no option")
    from mlops.operations import trial_message

    has_failed = False
    for tried in trial_message.Trial.of_this_machine().send():
        print(f"{tried.channel:<12}{tried.outcome}{f': {tried.text}' if tried.text else ''}", flush=True)
        has_failed = has_failed or tried.outcome == trial_message.REFUSED
    return 1 if has_failed else 0
