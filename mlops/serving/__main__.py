"""``python -m mlops.serving``: the champions over HTTP."""

from __future__ import annotations

import uvicorn

from mlops.serving.app import create_app
from mlops.serving.models import Models
from mlops.serving.settings import ServeSettings


def main() -> None:
    """Serve."""
    settings = ServeSettings.from_environment()
    app = create_app(Models(settings.services, settings.refresh_seconds), settings)
    uvicorn.run(app, host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
