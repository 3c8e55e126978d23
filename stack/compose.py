"""docker-compose.yml for a machine without containers: its commands, environments and health checks.

Swapped are only what containers have for themselves: ports (for the published ones), host names and bind
addresses (for 127.0.0.1), and folders (for some of this machine).
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
LOOPBACK = "127.0.0.1"
PROJECT_IN_IMAGE = "/srv/trip_duration"
_USE = re.compile(r"\$\{(\w+)[^}]*\}")
_UNITS = {"s": 1, "m": 60, "h": 3600}


class StackError(Exception):
    """What a person can do something about: what, where, expected, got, next act."""


@dataclass(frozen=True)
class Compose:
    """The file with its variables filled in, and this machine's places.

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
    def read(cls, values: Mapping[str, str], folder: Path, places: Mapping[str, Path]) -> Compose:
        """The file with variables from `values`; volumes lie in `folder`, unless `places` says otherwise."""
        text = (ROOT / "docker-compose.yml").read_text()
        services = yaml.safe_load(_USE.sub(lambda use: values[use[1]], text))["services"]
        found: dict[str, Path] = {}
        for service in services.values():
            for source, inside in (volume.split(":")[:2] for volume in service["volumes"]):
                found[inside] = ROOT / source if source.startswith(".") else folder / Path(inside).name
        return cls(services, {**found, **places})

    def in_order(self) -> list[str]:
        """Names of the services, each after those that it depends on."""
        needs = {name: service.get("depends_on", {}) for name, service in self.services.items()}
        return list(graphlib.TopologicalSorter(needs).static_order())

    def port(self, service: str) -> int:
        """The published port, on which the service's process listens here."""
        return int(self._ports(service)[1])

    def url(self, service: str, path: str = "") -> str:
        """An address of the service's on this machine."""
        return f"http://{LOOPBACK}:{self.port(service)}{path}"

    def command(self, service: str) -> list[str]:
        """What the container runs, with this machine's places."""
        return [self.here(part) for part in self.services[service]["command"]]

    def healthcheck(self, service: str) -> list[str]:
        """Command that ends with 0 when the service is well."""
        return [self.here(part) for part in self.services[service]["healthcheck"]["test"][1:]]

    def seconds_to_start(self, service: str) -> float:
        """After which compose would call a service unhealthy that never was well."""
        check = self.services[service]["healthcheck"]
        return _seconds(check["start_period"]) + int(check["retries"]) * _seconds(check["interval"])

    def environment(self, service: str) -> dict[str, str]:
        """What the image and the file set."""
        named = self.services[service]["environment"]
        return image_environment(service) | {name: self._value(name, text) for name, text in named.items()}

    def here(self, text: str) -> str:
        """Text with ports, host names, bind address and folders of containers swapped."""
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
        """Port inside the container, and the published one."""
        _, published, inside = self.services[service]["ports"][0].split(":")
        return inside, published


def image_environment(service: str) -> dict[str, str]:
    """The ENV of the service's Dockerfile, without what concerns pip; nothing where there is no such file."""
    file = ROOT / "docker" / f"{service}.Dockerfile"
    instruction = re.search(r"(?m)^ENV ((?:.*\\\n)*.*)$", file.read_text()) if file.exists() else None
    pairs = dict(re.findall(r"(\w+)=(\S+)", instruction[1])) if instruction else {}
    return {name: value for name, value in pairs.items() if not name.startswith("PIP_")}


def variables() -> dict[str, str]:
    """Every variable of the file with its default, empty where there is none, as `.env.example` lists them."""
    return read_env(ROOT / ".env.example")


def read_env(path: Path) -> dict[str, str]:
    """Names and values of a file of lines NAME=value; nothing of one that does not exist."""
    if not path.exists():
        return {}
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _seconds(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1]]
