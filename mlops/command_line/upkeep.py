"""Commands of the operator: `doctor` and `tidy`."""

from __future__ import annotations

import argparse
from typing import Any

from mlops.command_line.arguments import add_command


def add(parsers: Any) -> None:
    """Add these commands to the parser."""
    _add_doctor(parsers)
    _add_tidy(parsers)


def _add_doctor(parsers: Any) -> None:
    doctor = add_command(
        parsers,
        "doctor",
        "Check this machine, the servers and the registry, and print a fix for each problem.",
        """\
If this state folder has a stack, the stack is checked. Runs whose process died are closed in MLflow.
The exit status is 1 while a problem is open, 3 if nothing is open but something was not checked, else 0.""",
        """\
  python -m mlops doctor
  python -m mlops doctor --resume  # also deliver pending results""",
    )
    doctor.add_argument(
        "--resume",
        action="store_true",
        help="Also deliver pending results: models fitted while the tracking server did not answer.",
    )
    doctor.set_defaults(act=run_doctor)


def _add_tidy(parsers: Any) -> None:
    tidy = add_command(
        parsers,
        "tidy",
        "Delete old files and runs that can be made again.",
        "Champions and the evidence for them are never deleted.",
        """\
  python -m mlops tidy --dry-run
  python -m mlops tidy --keep-days 30""",
    )
    tidy.add_argument(
        "--keep-days",
        type=int,
        default=90,
        metavar="N",
        help="Days without use before deletion. (default: 90)",
    )
    tidy.add_argument(
        "--dry-run", action="store_true", help="List what would be deleted, and delete nothing."
    )
    tidy.set_defaults(act=run_tidy)


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings of a check-up; status 1 while a problem is open, 3 if something was not checked."""
    from mlops.operations.doctor import checkup

    found = []
    for finding in checkup.check_up(resume=options.resume):
        print(f"{finding.label}\t{finding.text}", flush=True)
        found.append(finding)
    return checkup.exit_status(found)


def run_tidy(options: argparse.Namespace) -> int:
    """Delete what is old, or list it."""
    from mlops.operations.retention import cleanup

    limits = cleanup.Retention.parse({"keep_days": options.keep_days, "dry_run": options.dry_run})
    found = cleanup.find_leftovers(limits)
    if limits.dry_run and len(found):
        print(found.to_string(index=False), end="\n\n")
    summary = cleanup.delete_leftovers(found, limits)
    print(summary.to_string(index=False) if len(found) else f"nothing is older than {limits.keep_days} days")
    return 0
