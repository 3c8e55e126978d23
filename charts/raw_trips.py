"""Trips of the newest month, as TLC published them."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def raw_trips(loaded, *args, **variables):
    return glimpses.raw_trips(loaded)
