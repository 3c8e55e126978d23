"""Mage's REST API, used as a logged-in user's browser uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests
from support.stack_process import Stack, log_in, select


@dataclass(frozen=True)
class MageApi:
    """The API of a running stack's Mage, for its owner."""

    stack: Stack
    session: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def of(cls, stack: Stack) -> MageApi:
        """Log in and return the API."""
        api = cls(stack)
        owner = stack.values["DEFAULT_OWNER_EMAIL"], stack.values["DEFAULT_OWNER_PASSWORD"]
        token = log_in(stack, *owner)["session"]["token"]
        key = select(stack, "mage", "SELECT client_id FROM oauth2_application")[0]
        api.session.headers.update({"X-API-KEY": key, "Cookie": f"oauth_token={token}"})
        return api

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer to a request; Mage returns most errors in the body of a 200."""
        url = self.stack.compose.url("mage", f"/api/{path}")
        response = self.session.request(method, url, json=body or None, timeout=60)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        assert "error" not in answer, answer
        return answer

    def backfill(self, pipeline: str, first: str, last: str, variables: dict[str, Any]) -> int:
        """Start a backfill with one run per month from first to last (YYYY-MM); return its number."""
        made = self.call("POST", f"pipelines/{pipeline}/backfills", backfill={"name": "by a test"})[
            "backfill"
        ]
        range_ = {
            "start_datetime": f"{first}-01 00:00:00",
            "end_datetime": f"{last}-01 00:00:00",
            "interval_type": "month",
            "interval_units": 1,
            "variables": variables,
        }
        for change in (range_, {"status": "initial"}):
            self.call("PUT", f"backfills/{made['id']}", backfill={"id": made["id"], **change})
        return int(made["id"])

    def backfilled(self, number: int) -> list[str]:
        """Statuses of the backfill's runs."""
        runs = self.call("GET", f"pipeline_runs?backfill_id={number}&_limit=100")["pipeline_runs"]
        return [run["status"] for run in runs]
