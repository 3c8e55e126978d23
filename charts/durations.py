"""Kept trips of all months by their duration."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def durations(cleaned, *args, **variables):
    return glimpses.durations(cleaned)
