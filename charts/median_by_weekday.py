"""Median duration of the kept trips by the weekday of the pickup."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def median_by_weekday(cleaned, *args, **variables):
    return glimpses.median_by_weekday(cleaned)
