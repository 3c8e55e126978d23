"""Errors of the online service, beside those of `mlops.errors`."""

from __future__ import annotations

from collections.abc import Sequence

from mlops.errors import MlopsError


class ServiceError(MlopsError):
    """No version can answer for the service that a request names.

    Attributes
    ----------
    services : tuple of str
        The services that are known here.
    """

    def __init__(self, message: str, services: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.services = tuple(services)


class NoModelError(ServiceError):
    """No version of the service's model is loaded; asking again later may help."""


class UnknownServiceError(ServiceError):
    """The request names a service that is not served here."""


class AmbiguousServiceError(ServiceError):
    """The request names no service, and several are served."""
