"""Commands of the operator: `status`, `notify`, `doctor` and `tidy`."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from pydantic import BaseModel

from mlops.command_line import notify
from mlops.command_line.arguments import AS_JSON, add_command
from mlops.command_line.printing import print_json, print_table
from mlops.command_line.work_records import DoctorFinding, Tidied

LEAST_SECONDS, MOST_SECONDS, USUAL_SECONDS = 0.1, 600, 3.0  # until `status` reports what does not answer


def add(parsers: Any) -> None:
    """Add these commands to the parser."""
    _add_status(parsers)
    notify.add(parsers)
    _add_doctor(parsers)
    _add_tidy(parsers)


def _add_status(parsers: Any) -> None:
    status = add_command(
        parsers,
        "status",
        "Show on one screen whether all is well and, if not, what comes next.",
        """\
Of each model: its champion, the last verdict, the month it waits for, the last check and the last failure, the
newest compared month, and what waits for approval. Then the servers and the disk. Nothing is changed.
The exit status is 0 if all is well, 1 if something needs a person, 3 if something could only not be checked.""",
        """\
  python -m mlops status
  python -m mlops status --json""",
    )
    status.add_argument("--json", action="store_true", help="Print one JSON object.")
    status.add_argument(
        "--seconds",
        type=_seconds,
        default=USUAL_SECONDS,
        metavar="N",
        help=f"Seconds until what does not answer is reported. (default: {USUAL_SECONDS:g})",
    )
    status.set_defaults(act=run_status, dry_run=True)  # nothing is changed, so no folder is made


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if LEAST_SECONDS <= float(text) <= MOST_SECONDS:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected {LEAST_SECONDS} to {MOST_SECONDS}; got {text!r}")


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
    doctor.add_argument("--json", action="store_true", help=AS_JSON)
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
    tidy.add_argument("--json", action="store_true", help=AS_JSON)
    tidy.set_defaults(act=run_tidy)


def run_status(options: argparse.Namespace) -> int:
    """Print whether all is well; status 0, 1 or 3, see `Status.exit_status`."""
    from mlops.command_line import printing, status_screen
    from mlops.operations import status

    found = status.look(options.seconds)
    if options.json:
        printing.print_json(found)
    else:
        status_screen.show(found, printing.console())
    return found.exit_status


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings of a check-up; status 1 while a problem is open, 3 if something was not checked."""
    from mlops.operations.doctor import checkup

    found = []
    for finding in checkup.check_up(resume=options.resume):
        if not options.json:
            print(f"{finding.label}\t{finding.text}", flush=True)
        found.append(finding)
    if options.json:
        print_json([DoctorFinding.of(finding) for finding in found])
    return checkup.exit_status(found)


def run_tidy(options: argparse.Namespace) -> int:
    """Delete what is old, or list it."""
    from mlops.operations.retention import cleanup

    limits = cleanup.Retention.parse({"keep_days": options.keep_days, "dry_run": options.dry_run})
    found = cleanup.find_leftovers(limits)
    tidied = Tidied.of(found, cleanup.delete_leftovers(found, limits), limits.model_dump())
    print_json(tidied) if options.json else _show(tidied)
    return 0


def _show(tidied: Tidied) -> None:
    if not tidied.leftovers:
        print(f"nothing is older than {tidied.keep_days} days")
        return
    if tidied.is_dry_run:
        rows = [_cells(each) for each in tidied.leftovers]
        print_table(rows, right=("days", "megabytes"))
        print()
    print_table(
        [_cells(each) for each in tidied.kinds], right=("found", "deleted", "megabytes", "oldest days")
    )


def _cells(record: BaseModel) -> dict[str, str]:
    """The fields of a record as cells of a table."""
    return {
        name.replace("_", " "): f"{value:,.1f}" if isinstance(value, float) else str(value)
        for name, value in record.model_dump().items()
    }
