"""A sample of trips: kept, or rejected with the rule."""

if "xy" not in globals():
    from mage_ai.data_preparation.decorators import xy

from mlops.pipeline import glimpses


@xy
def sampled_trips(cleaned, *args, **variables):
    return glimpses.sampled_trips(cleaned)
