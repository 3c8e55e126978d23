"""The stack's command line, as make calls it: `python docker start`.

start      start what does not run
status     show what runs; fails unless all is well
stop       end all of it
"""

# ruff: noqa: T201 - the command line is where printing belongs

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from backup import back_up, restore
from compose import LOOPBACK, ROOT, StackError
from filelock import Timeout
from secret_values import asked_ports
from stack import SECONDS_TO_WAIT, only_one, open_stack, start


def main() -> int:
    """Status of the process: 0 when all is as asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"start": _start, "status": _status, "stop": _stop, "backup": _backup, "restore": _restore}
    parser.add_argument("command", choices=commands)
    parser.add_argument("archive", nargs="?", type=Path, help="of backup and restore")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a start tidies up
    folder = Path(os.environ.get("MLOPS_STATE_DIR") or ROOT / ".state").absolute() / "stack"
    try:
        return commands[arguments.command](folder, arguments.archive)
    except StackError as error:
        return _failed(str(error))
    except Timeout:
        return _failed(f"{folder}: somebody else has been starting or stopping it for {SECONDS_TO_WAIT} s")
    except KeyboardInterrupt:
        _failed("interrupted; what this command began is stopped")
        return 130


def _failed(why: str) -> int:
    print(f"stack: {why}", file=sys.stderr)
    return 1


def _start(folder: Path, archive: Path | None) -> int:
    stack = start(folder, asked_ports(os.environ))
    owners = {
        "mage": (stack.values["DEFAULT_OWNER_EMAIL"], "DEFAULT_OWNER_PASSWORD"),
        "mlflow": (stack.values["MLFLOW_TRACKING_USERNAME"], "MLFLOW_TRACKING_PASSWORD"),
    }
    print()
    for name, (user, password) in owners.items():
        print(f"{name:8} {stack.compose.url(name)}  log in as {user}, {password} in {folder / '.env'}")
    print(f"a shell  set -a; . {folder / 'environment'}; set +a")
    return 0


def _stop(folder: Path, archive: Path | None) -> int:
    if not (stack := open_stack(folder)):
        print(f"no stack in {folder}")
        return 0
    with only_one(folder):
        stopped = stack.stop()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing ran")
    return 0


def _status(folder: Path, archive: Path | None) -> int:
    if not (stack := open_stack(folder)):
        print(f"no stack in {folder}; `make stack` makes one")
        return 1
    states = []
    for service in stack.services():
        leader = service.leader()
        states.append("stopped" if not leader else "well" if stack.is_healthy(service.name) else "not well")
        where = (
            f"{LOOPBACK}:{stack.compose.port(service.name):<5}  {f'pid {leader.pid}' if leader else '':11}"
        )
        print(f"{service.name:8} {states[-1]:8} {where} {service.log}")
    return 0 if set(states) == {"well"} else 1


def _backup(folder: Path, archive: Path | None) -> int:
    stack = open_stack(folder)
    if not stack or not archive:
        return _failed(f"no stack in {folder}" if archive else "where to? make backup TO=FILE.tar.gz")
    back_up(stack, archive)
    return 0


def _restore(folder: Path, archive: Path | None) -> int:
    if not archive:
        return _failed("where from? make restore FROM=FILE.tar.gz")
    restore(folder, archive, asked_ports(os.environ))
    return 0


if __name__ == "__main__":
    sys.exit(main())
