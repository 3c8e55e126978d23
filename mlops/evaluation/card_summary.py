"""The first lines of a model card, in words for somebody who manages drivers: how good, and may it be used."""

from __future__ import annotations

import math

from mlops.evaluation import words
from mlops.evaluation.card import Card
from mlops.evaluation.metrics import GATED, LEAST_ROWS

_EXPLAINED = {
    "pair median": "the pair median (the usual minutes between the two zones)",
    "course's recipe": "the course's recipe (a well-known simple model)",
}
_USE = {
    "promote": "Yes. By these rules, without a person, it became the champion: the version that answers requests.",
    "keep": "There is no need to: the champion at that time was kept, and answers requests.",
    "refuse": "No. It is not fit for use, or it could not be compared fairly.",
}
_EXPERIMENT = {
    "promote": "would become the champion",
    "keep": "would be fit for use, but the champion would stay",
    "refuse": "would be refused",
}


def in_short(card: Card) -> dict[str, str]:
    """Answers by question: how good, better than what, for whom it is weakest, may it be used.

    A question that the card cannot answer is left out.
    """
    found = {
        "How good is it?": how_good(card),
        "Better than what?": better_than(card),
        "Where is it weakest?": weakest(card),
        "May it be used?": may_be_used(card),
    }
    return {question: answer for question, answer in found.items() if answer}


def how_good(card: Card) -> str:
    """How near predictions and rides are to each other."""
    most = card.measured.get("test_p90", math.nan)
    if not math.isfinite(most):
        return ""
    rides = f"the {card.measured['test_rows']:,.0f} rides of {card.settings['month']}"
    if card.half_within is None:
        return f"Nine of ten of {rides} took within {most:.1f} minutes of the prediction."
    return (
        f"Half of {rides} took within {card.half_within:.1f} minutes of the prediction, nine of ten within "
        f"{most:.1f} minutes."
    )


def better_than(card: Card) -> str:
    """By how much the RMSE differs from that of each other contender."""
    table = card.contenders[card.contenders["rmse"] > 0]
    if len(table) < 2:
        return ""
    own, *others = zip(table["contender"], table["rmse"], strict=True)
    compared = (_compared(own[1], str(name), rmse) for name, rmse in others if math.isfinite(rmse))
    return (
        f"Its error (RMSE, in which large misses weigh more) is {own[1]:.2f} minutes: {', '.join(compared)}."
    )


def weakest(card: Card) -> str:
    """The slice with the largest RMSE, of those that the verdict checks and that are large enough."""
    table = card.by_slice
    large = table[table["slice"].isin(GATED) & (table["rows"] >= LEAST_ROWS)]
    if large.empty:
        return ""
    row = large.loc[large["rmse"].idxmax()]
    which = words.rides(str(row["slice"]), str(row["value"]))
    return f"For rides {which}: there its RMSE is {row['rmse']:.1f} minutes ({row['rows']:,} rides)."


def may_be_used(card: Card) -> str:
    """What the verdict means for somebody who wants to use the model."""
    if card.experiment:
        return f"No, this is an experiment. By the rules for versions, it {_EXPERIMENT[card.outcome]}."
    if card.verification is None:
        return "Not yet: the registered version has not been loaded and checked."
    if not card.verification["passed"]:
        return "No. The registered version was loaded and checked, and failed."
    if card.waits and card.outcome == "promote":
        return f"Not before a person approves it: {card.waits}."
    return _USE[card.outcome]


def _compared(own: float, name: str, rmse: float) -> str:
    share = own / rmse - 1
    return f"{abs(share):.1%} {'less' if share <= 0 else 'more'} than {_EXPLAINED.get(name, f'the {name}')}"
