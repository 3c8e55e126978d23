"""Read the services of docker-compose.yml for a machine without containers.

Commands, environments, order, health checks, restarts, logs and stop signals come from that file. Only values
that are valid inside containers are replaced: ports (by the published ports), host names and bind addresses
(by 127.0.0.1), and folders (by folders on this machine).
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docker-compose.yml"
LOOPBACK = "127.0.0.1"
PROJECT_IN_IMAGE = "/srv/trip_duration"
_USE = re.compile(r"\$\{(\w+)[^}]*\}")
_UNITS = {"s": 1, "m": 60, "h": 3600}


class StackError(Exception):
    """An error that a person can correct; the message says what, where, expected, got and what to do next."""


@dataclass(frozen=True)
class Compose:
    """The compose file with the values of its variables, and the folders of this machine.

    Parameters
    ----------
    services : mapping
        The services of the file, by name.
    places : mapping
        For each folder or file inside a container, the path on this machine.
    """

    services: Mapping[str, Any]
    places: Mapping[str, Path]

    @classmethod
    def read(
        cls, values: Mapping[str, str], folder: Path, places: Mapping[str, Path], file: Path = FILE
    ) -> Compose:
        """Read the file.

        Parameters
        ----------
        values : mapping
            Values of the file's variables.
        folder : Path
            Folder for the volumes that `places` does not contain.
        places : mapping
            For a folder or file inside a container, the path on this machine.
        file : Path
            A compose file.
        """
        services = _filled(yaml.safe_load(file.read_text(encoding="utf-8"))["services"], values)
        found: dict[str, Path] = {}
        for service in services.values():
            for source, inside in (volume.split(":")[:2] for volume in service["volumes"]):
                found[inside] = ROOT / source if source.startswith(".") else folder / Path(inside).name
        return cls(services, {**found, **places})

    def in_order(self) -> list[str]:
        """Return the names of the services, each after the services that it depends on."""
        needs = {name: service.get("depends_on", {}) for name, service in self.services.items()}
        return list(graphlib.TopologicalSorter(needs).static_order())

    def port(self, service: str) -> int:
        """Return the published port; on this machine the service listens on it."""
        return int(self._ports(service)[1])

    def url(self, service: str, path: str = "") -> str:
        """Return an address of the service on this machine."""
        return f"http://{LOOPBACK}:{self.port(service)}{path}"

    def command(self, service: str) -> list[str]:
        """Return the container's command, with the folders of this machine."""
        return [self.here(part) for part in self.services[service]["command"]]

    def healthcheck(self, service: str) -> list[str]:
        """Return the command of the health check; it ends with status 0 if the service is healthy."""
        return [self.here(part) for part in self.services[service]["healthcheck"]["test"][1:]]

    def seconds_to_start(self, service: str) -> float:
        """Return the seconds after which compose gives up on a service that never became healthy."""
        check = self.services[service]["healthcheck"]
        return _seconds(check["start_period"]) + int(check["retries"]) * _seconds(check["interval"])

    def restarts(self, service: str) -> bool:
        """Return whether the service is restarted when it ends by itself."""
        return self.services[service].get("restart", "no") in ("always", "unless-stopped")

    def stop_signal(self, service: str) -> str:
        """Return the name of the signal that stops the service."""
        return str(self.services[service].get("stop_signal", "SIGTERM"))

    def seconds_to_stop(self, service: str) -> float:
        """Return the seconds between the stop signal and SIGKILL."""
        return _seconds(self.services[service].get("stop_grace_period", "10s"))

    def log_limits(self, service: str) -> tuple[str, int]:
        """Return the maximum size of a log file, for example ``10m``, and the number of files kept."""
        options = self.services[service]["logging"]["options"]
        return options["max-size"], int(options["max-file"])

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment variables that the image and the file set."""
        named = self.services[service]["environment"]
        return image_environment(service) | {name: self._value(name, text) for name, text in named.items()}

    def here(self, text: str) -> str:
        """Replace the containers' ports, host names, bind address and folders in a text."""
        for service in self.services:
            inside, published = self._ports(service)
            if text == inside:
                return published
            text = re.sub(rf"(?<=[/@]){service}:{inside}\b", f"{LOOPBACK}:{published}", text)
            text = text.replace(f"{LOOPBACK}:{inside}/", f"{LOOPBACK}:{published}/")
        for inside, place in self.places.items():
            if text == inside or text.startswith(f"{inside}/"):
                return f"{place}{text.removeprefix(inside)}"
        return LOOPBACK if text == "0.0.0.0" else text

    def _value(self, name: str, text: str) -> str:
        return LOOPBACK if name.endswith("HOST") and text in self.services else self.here(text)

    def _ports(self, service: str) -> tuple[str, str]:
        """Return the port inside the container, and the published one."""
        _, published, inside = self.services[service]["ports"][0].split(":")
        return inside, published


def image_environment(service: str) -> dict[str, str]:
    """Return the ENV values of the service's Dockerfile, without those for pip; empty without a Dockerfile."""
    file = ROOT / "docker" / f"{service}.Dockerfile"
    instruction = (
        re.search(r"(?m)^ENV ((?:.*\\\n)*.*)$", file.read_text(encoding="utf-8")) if file.exists() else None
    )
    pairs = dict(re.findall(r"(\w+)=(\S+)", instruction[1])) if instruction else {}
    return {name: value for name, value in pairs.items() if not name.startswith("PIP_")}


def variables() -> dict[str, str]:
    """Return the file's variables and their defaults (an empty text for no default), from `.env.example`."""
    return read_env(ROOT / ".env.example")


def required() -> set[str]:
    """Return the names of the variables without which compose does not start; the others may be empty."""
    return set(re.findall(r"\$\{(\w+):\?", FILE.read_text(encoding="utf-8")))


def read_env(path: Path) -> dict[str, str]:
    """Read a file of lines NAME=value; return an empty dict if it does not exist.

    Raises
    ------
    StackError
        For any other line that is not a comment and not empty.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StackError(
            f"{path}: expected text in UTF-8; got other bytes. Correct or remove the file."
        ) from error
    found = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line or line.startswith("#"):
            continue
        if not equals or not re.fullmatch(r"\w+", name):
            raise StackError(f"{path}: expected NAME=value in line {number}; got something else. Correct it.")
        found[name] = value
    return found


def _filled(part: Any, values: Mapping[str, str]) -> Any:
    """Replace variables after the YAML is parsed, so that a value may contain characters special in YAML."""
    if isinstance(part, dict):
        return {name: _filled(value, values) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    return _USE.sub(lambda use: values[use[1]], part) if isinstance(part, str) else part


def _seconds(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1]]
