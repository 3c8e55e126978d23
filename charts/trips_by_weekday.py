"""Kept trips of all months by the weekday of the pickup."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def trips_by_weekday(cleaned, *args, **variables):
    return glimpses.trips_by_weekday(cleaned)
