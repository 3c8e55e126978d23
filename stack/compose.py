"""What docker-compose.yml says about each service, for a machine without containers.

Commands, environments, order, health checks, restarts, logs and how to stop come from that file. Only what
containers have for themselves is replaced: ports (by the published ones), host names and bind addresses
(by 127.0.0.1), and folders (by folders of this machine).
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
    """An error that a person can correct: what, where, expected, got, next act."""


@dataclass(frozen=True)
class Compose:
    """The compose file with its variables filled in, and this machine's folders.

    Parameters
    ----------
    services : mapping
        The file's, by name.
    places : mapping
        Folder or file inside a container to the one here.
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
            Of the file's variables.
        folder : Path
            Where volumes lie, unless `places` says otherwise.
        places : mapping
            Folder or file inside a container to the one here.
        file : Path
            A compose file.
        """
        services = _filled(yaml.safe_load(file.read_text())["services"], values)
        found: dict[str, Path] = {}
        for service in services.values():
            for source, inside in (volume.split(":")[:2] for volume in service["volumes"]):
                found[inside] = ROOT / source if source.startswith(".") else folder / Path(inside).name
        return cls(services, {**found, **places})

    def in_order(self) -> list[str]:
        """Sort the names of the services, each after those that it depends on."""
        needs = {name: service.get("depends_on", {}) for name, service in self.services.items()}
        return list(graphlib.TopologicalSorter(needs).static_order())

    def port(self, service: str) -> int:
        """Return the published port, on which the service's process listens here."""
        return int(self._ports(service)[1])

    def url(self, service: str, path: str = "") -> str:
        """Return an address of the service on this machine."""
        return f"http://{LOOPBACK}:{self.port(service)}{path}"

    def command(self, service: str) -> list[str]:
        """Return what the container runs, with this machine's folders."""
        return [self.here(part) for part in self.services[service]["command"]]

    def healthcheck(self, service: str) -> list[str]:
        """Return the command that ends with 0 when the service is healthy."""
        return [self.here(part) for part in self.services[service]["healthcheck"]["test"][1:]]

    def seconds_to_start(self, service: str) -> float:
        """Return the seconds after which compose calls a service unhealthy that never was healthy."""
        check = self.services[service]["healthcheck"]
        return _seconds(check["start_period"]) + int(check["retries"]) * _seconds(check["interval"])

    def restarts(self, service: str) -> bool:
        """Tell whether the service is to be started again when it ends by itself."""
        return self.services[service].get("restart", "no") in ("always", "unless-stopped")

    def stop_signal(self, service: str) -> str:
        """Return the name of the signal that asks the service to end."""
        return str(self.services[service].get("stop_signal", "SIGTERM"))

    def seconds_to_stop(self, service: str) -> float:
        """Return the seconds that the service then has, before SIGKILL."""
        return _seconds(self.services[service].get("stop_grace_period", "10s"))

    def log_limits(self, service: str) -> tuple[str, int]:
        """Return the size of one log file, as in ``10m``, and how many are kept."""
        options = self.services[service]["logging"]["options"]
        return options["max-size"], int(options["max-file"])

    def environment(self, service: str) -> dict[str, str]:
        """Return what the image and the file set."""
        named = self.services[service]["environment"]
        return image_environment(service) | {name: self._value(name, text) for name, text in named.items()}

    def here(self, text: str) -> str:
        """Replace ports, host names, bind address and folders of containers in a text."""
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
    """Read the ENV of the service's Dockerfile, without pip's; empty where there is no such file."""
    file = ROOT / "docker" / f"{service}.Dockerfile"
    instruction = re.search(r"(?m)^ENV ((?:.*\\\n)*.*)$", file.read_text()) if file.exists() else None
    pairs = dict(re.findall(r"(\w+)=(\S+)", instruction[1])) if instruction else {}
    return {name: value for name, value in pairs.items() if not name.startswith("PIP_")}


def variables() -> dict[str, str]:
    """List the file's variables with their defaults, empty where there is none, as `.env.example` does."""
    return read_env(ROOT / ".env.example")


def read_env(path: Path) -> dict[str, str]:
    """Read a file of lines NAME=value; empty when it does not exist.

    Raises
    ------
    StackError
        For a line that is neither that, nor a comment, nor empty.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StackError(f"{path}: expected text; got something else. Correct or remove the file.") from error
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
    """Replace variables after parsing, so that a value may hold whatever means something in YAML."""
    if isinstance(part, dict):
        return {name: _filled(value, values) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    return _USE.sub(lambda use: values[use[1]], part) if isinstance(part, str) else part


def _seconds(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1]]
