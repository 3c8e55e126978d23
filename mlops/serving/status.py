"""Which versions answer, and whether any does: ``/model``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mlops.serving.answering import no_model
from mlops.serving.errors import NoModelError
from mlops.serving.models import Models, ServiceState


class ServedModel(BaseModel):
    """The version that answers for a service."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    service: str = Field(description="Service.", examples=["green"])
    name: str = Field(description="Registered model.", examples=["trip-duration-green"])
    version: str = Field(description="Number of the version.", examples=["12"])
    run_key: str = Field(
        description="Key of the run that registered it: 64 hexadecimal digits; empty if the version has none.",
        examples=["aa072bc442c1094f0ae1275cf6116e54d4addfcd96b2f687bab36a0049d79515"],
    )
    trained_on: str = Field(
        description="First and last month of its training trips; empty if the version does not say.",
        examples=["2022-07 to 2023-05"],
    )
    tested_on: str = Field(
        description="Month on which it was tested, YYYY-MM; empty if the version does not say.",
        examples=["2023-06"],
    )
    test_rmse: float | None = Field(
        description="Root of the mean squared error on that month, in minutes; null if the version does not say.",
        examples=[4.04],
    )
    alias: str = Field(description="Why it answers: its alias in the registry.", examples=["champion"])
    loaded_at: datetime = Field(
        description="When this process loaded it, in UTC.", examples=["2023-07-03T12:30:00Z"]
    )
    registered_at: datetime | None = Field(
        description="When it was registered, in UTC; null if that is not known.",
        examples=["2023-07-02T04:10:00Z"],
    )
    knows_missing_distance: bool = Field(
        description="Whether its ranges of requests without a distance are calibrated for them.",
        examples=[True],
    )


class ServiceModel(BaseModel):
    """What answers for a service, and what is wrong."""

    service: str = Field(description="Service.", examples=["green"])
    model: ServedModel | None = Field(description="The version that answers; null while none is loaded.")
    problem: str = Field(
        description="Why this version is not the champion of now, or may not be; empty if all is well.",
        examples=[""],
    )


class ModelReport(BaseModel):
    """What answers for each service."""

    services: list[ServiceModel] = Field(description="One for each service, sorted by name.")
    problem: str = Field(description="Why the registry cannot be asked now; empty if it can.", examples=[""])


class Health(BaseModel):
    """The process answers."""

    status: Literal["alive"] = Field("alive", description="Always `alive`.", examples=["alive"])


class Readiness(BaseModel):
    """A model is loaded."""

    status: Literal["ready"] = Field("ready", description="Always `ready`.", examples=["ready"])
    services: list[str] = Field(description="Services that have a model.", examples=[["green"]])


def report(models: Models) -> ModelReport:
    """What answers for each service now."""
    return ModelReport(services=[_service(state) for state in models.states()], problem=models.problem)


def readiness(models: Models) -> Readiness:
    """Services that have a model.

    Raises
    ------
    ProblemError
        503 where none has one.
    """
    services = [served.service for served in models.all()]
    if not services:
        # A problem may name folders or the registry, and this answer needs no key.
        is_known = models.problem or models.states()
        why = "/model says why" if is_known else "there is no champion"
        raise no_model(NoModelError(f"no model is loaded ({why})"))
    return Readiness(services=services)


def _service(state: ServiceState) -> ServiceModel:
    model = ServedModel.model_validate(state.served) if state.served else None
    return ServiceModel(service=state.service, model=model, problem=state.problem)
