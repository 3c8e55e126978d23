"""Command line of the stack, which the make targets call: `python -m stack start`.

start      start the services that are not running
status     show every service; fails unless all are healthy
stop       stop all services
restart    stop, then start
update     start Mage again with the checkout's pipelines and blocks, also those that were changed in Mage too
upgrade    back up, migrate the databases for the installed versions, start again what ran, ask the doctor
stop-for-upgrade  stop all services before the environments are built again; `upgrade` starts them
backup     write registry, journal, artefacts and Mage's records into one file
restore    create a new stack from such a file; `--trust restore` accepts one that cannot be authenticated
"""

# ruff: noqa: T201 - the command line is where printing belongs

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import Timeout

from mlops import config
from mlops.errors import ConfigError
from stack import upgrade
from stack.backup import back_up, restore
from stack.compose import LOOPBACK, StackError
from stack.processes import family
from stack.secret_values import asked_ports
from stack.stack import SECONDS_TO_WAIT, Stack, only_one, open_stack, start


def main() -> int:
    """Run a command and return the exit status of the process: 0 for success."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.trust and arguments.command != "restore":
        parser.error(f"--trust: expected with restore; got {arguments.command}")
    os.umask(0o077)  # nobody else reads what a command creates
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a start cleans up
    try:
        folder = config.state_dir() / "stack"
    except ConfigError as error:
        return _failed(str(error))
    try:
        if arguments.trust:
            return _restore(folder, arguments.archive, trust=True)
        return COMMANDS[arguments.command](folder, arguments.archive)
    except (StackError, ConfigError, OSError) as error:
        return _failed(str(error))
    except Timeout:
        return _failed(
            f"{folder}: another command still starts or stops this stack after {SECONDS_TO_WAIT} s; "
            "try again when it has ended"
        )
    except KeyboardInterrupt:
        _failed("interrupted; the services that this command started are stopped")
        return 130


def _failed(why: str) -> int:
    print(f"stack: {why}", file=sys.stderr)
    return 1


def _start(folder: Path, archive: Path | None, replace: bool = False) -> int:
    stack = start(folder, asked_ports(os.environ), replace=replace)
    upgrade.forget(folder)
    owners = {
        "mage": (stack.values["DEFAULT_OWNER_EMAIL"], "DEFAULT_OWNER_PASSWORD"),
        "mlflow": (stack.values["MLFLOW_TRACKING_USERNAME"], "MLFLOW_TRACKING_PASSWORD"),
    }
    print()
    for name, (user, password) in owners.items():
        login = f"log in as {user}, password: {password} in {folder / '.env'}"
        print(f"{name:8} {stack.compose.url(name)}  {login}")
    print(f"serving  {stack.compose.url('serving')}  POST /predict asks the champion; /model shows it")
    print(f"shell    set -a; . {shlex.quote(str(folder / 'environment'))}; set +a")
    return 0


def _stop(folder: Path, archive: Path | None) -> int:
    if not (stack := open_stack(folder)):
        print(f"no stack in {folder}; nothing to stop")
        return 0
    with only_one(folder):
        stopped = stack.stop()
        upgrade.forget(folder)
    print(f"stopped: {', '.join(stopped)}" if stopped else f"no service of the stack in {folder} was running")
    return 0


def _restart(folder: Path, archive: Path | None) -> int:
    return _stop(folder, archive) or _start(folder, archive)


def _update(folder: Path, archive: Path | None) -> int:
    return _start(folder, archive, replace=True)


def _status(folder: Path, archive: Path | None) -> int:
    if not (stack := open_stack(folder)):
        print(f"no stack in {folder}; `make stack` creates one")
        return 1
    records, running, states = stack.supervisord.states(), stack.running(), []
    for name in stack.compose.in_order():
        states.append(_state(stack, name, running, records))
        where = f"{LOOPBACK}:{stack.compose.port(name):<5}"
        pid = f"pid {records[name]['pid']}" if name in running else ""
        again = _restarts(len(stack.supervisord.exits(name))) if name in running else ""
        print(f"{name:8} {states[-1]:12} {where}  {pid:11} {again:18} {stack.log(name)}")
    if "unsupervised" in states:
        print(
            "supervisord does not answer, so it restarts no service that ends. "
            "`make stack` starts supervisord and all services again"
        )
    return 0 if set(states) == {"healthy"} else 1


def _restarts(count: int) -> str:
    return f"restarted {count} {'time' if count == 1 else 'times'}"


def _state(stack: Stack, name: str, running: list[str], records: Mapping[str, Mapping[str, Any]]) -> str:
    if name in running:
        return "healthy" if stack.is_healthy(name) else "unhealthy"
    if name in records:
        return str(records[name]["statename"]).lower()
    return "unsupervised" if family(stack.folder, name) else "stopped"


def _upgrade(folder: Path, archive: Path | None) -> int:
    upgrade.upgrade(folder)
    return 0


def _stop_for_upgrade(folder: Path, archive: Path | None) -> int:
    upgrade.stop_for_upgrade(folder)
    return 0


def _backup(folder: Path, archive: Path | None) -> int:
    stack = open_stack(folder)
    if not stack or not archive:
        why = f"no stack in {folder}; `make stack` creates one" if archive else "expected a file to write"
        return _failed(why if archive else f"{why}: make backup TO=FILE.tar.gz")
    back_up(stack, archive)
    return 0


def _restore(folder: Path, archive: Path | None, trust: bool = False) -> int:
    if not archive:
        return _failed("expected a file to read: make restore FROM=FILE.tar.gz")
    restore(folder, archive, asked_ports(os.environ), trust=trust)
    return 0


COMMANDS = {
    "start": _start,
    "status": _status,
    "stop": _stop,
    "restart": _restart,
    "update": _update,
    "upgrade": _upgrade,
    "stop-for-upgrade": _stop_for_upgrade,
    "backup": _backup,
    "restore": _restore,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS, help="one of the commands above")
    parser.add_argument("archive", nargs="?", type=Path, help="file that backup writes or restore reads")
    parser.add_argument(
        "--trust", action="store_true", help="restore an archive that cannot be authenticated"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
