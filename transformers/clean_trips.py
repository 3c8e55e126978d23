"""Clean the trips. Put rules of your own into OWN_RULES, then run this block and the two below it.

A rule has a name and a function. The function gets `trips`, arrays of one length, and the `month` of the file. It
returns true for each trip to reject. The arrays: pickup_at, dropoff_at (datetime64, New York), pickup_zone,
dropoff_zone, distance_miles, passenger_count (both NaN if unknown), duration_minutes, is_duplicate. Rejected trips
are not trained on, but they stay in the test. With training_only=False they leave the test, too: use it only for
records that are no trips. docs/own_ideas.md says more.
"""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.data.trips import Rule, with_own
from mlops.mage import from_mage
from mlops.pipeline import block_tables, months_table, steps

OWN_RULES: tuple[Rule, ...] = (
    # Rule("over_30_miles", lambda trips, month: trips["distance_miles"] > 30),
)


@transformer
def clean_trips(loaded, *args, **variables):
    """One row per month: trips, trips kept, trips that each rule rejects, and whether the month is unusual."""
    settings = from_mage(variables)
    months = block_tables.months_of(loaded)
    return block_tables.of_cleaned(steps.clean_trips(months, settings, rules=with_own(OWN_RULES)))


@test
def every_row_is_accounted_for(shown, *args):
    months_table.check_cleaned(block_tables.months_of(shown))
