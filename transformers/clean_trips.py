"""Clean the trips. Add your own rule as rules=(*RULES, Rule("name", ...)); its rejections are counted too."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.data.trips import RULES
from mlops.mage import from_mage
from mlops.pipeline import months_table, steps


@transformer
def clean_trips(months, *args, **variables):
    """One row per month: rows, rows kept, rows rejected by each rule, and what is unusual."""
    settings = from_mage(variables)
    return steps.clean_trips(months, settings, rules=RULES)


@test
def every_row_is_accounted_for(months, *args):
    months_table.check_cleaned(months)
