# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version,-jupytext.text_representation.format_version,-language_info
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["exploration"]
# # How long will a taxi ride take?
#
# From a first look at the trips to a registered model that answers. Four steps are those of the pipeline; the
# other cells explore. `make script` leaves the exploration out. What is left is a script with options: the same
# steps, the same run key and the same version as `python -m mlops train`.
#
# *Run*, then *Run All Cells*: half a minute on a quiet machine.

# %% [markdown] tags=["exploration"]
# ## What to train on
#
# Without options: the synthetic city, which needs no network. In the notebook, change the defaults below. Real
# trips are one word away: `tlc` instead of `sample`.

# %% tags=["parameters"]
import argparse
import logging
import sys

from mlops.config import Settings
from mlops.errors import MlopsError

options = argparse.ArgumentParser(
    description="Train, test and register a model for one month.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
options.add_argument("--service", default="green", help="green, yellow or fhvhv")
options.add_argument("--month", default="2023-06", help="test month, YYYY-MM")
options.add_argument("--source", default="sample", help="sample, tlc, a folder or a URL")
options.add_argument("--max-trials", default=18, type=int, help="trials of the search")
given = [] if "get_ipython" in globals() else None  # in a notebook the command line is Jupyter's own
chosen = options.parse_args(given)

# %% [markdown] tags=["exploration"]
# In a script, an error of the pipeline is one sentence for the reader; the notebook shows it below the cell.

# %%
logging.basicConfig(format="%(message)s", level=logging.ERROR, stream=sys.stdout)
logging.getLogger("mlops").setLevel(logging.INFO)


def explain(kind, error, trace):
    if isinstance(error, MlopsError):
        print(f"error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = explain
settings = Settings.parse(vars(chosen))

# %% [markdown] tags=["exploration"]
# ## Step 1: load the months
#
# The newest month is the **test month**: nothing looks at it before the end. The month before it is the
# **validation month**: the search of parameters looks at it. The months before are for training.

# %%
from mlops.pipeline import steps

months = steps.load_trips(settings)
months[["month", "role", "rows", "megabytes"]]

# %% [markdown] tags=["exploration"]
# One file as published: a row is a trip, as the meter recorded it. TLC's columns are explained in its data
# dictionary; `PULocationID` and `DOLocationID` are the taxi zones of pickup and drop-off.

# %% tags=["exploration"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

pd.set_option("display.max_colwidth", 100)
training = months[months["role"] == "training"]
raw = pd.read_parquet(training["path"].iloc[0])
raw.head().T

# %% [markdown] tags=["exploration"]
# Not every row is a ride. Some last a second, some a day; some drive thousands of miles, some none at all. Both
# axes are logarithmic, or one would see only a line. The grey band is what will stay.

# %% tags=["exploration"]
start, end = (raw.filter(like=name).iloc[:, 0] for name in ("pickup_datetime", "dropoff_datetime"))
raw_minutes = (end - start).dt.total_seconds() / 60

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
left.axvspan(1, 60, color="0.9")
left.hist(raw_minutes.clip(0.01, None), bins=np.geomspace(0.01, 2000, 60), color="tab:blue")
left.set(title="Minutes, as recorded", xlabel="minutes", ylabel="rows", xscale="log", yscale="log")
right.hist(raw["trip_distance"].clip(0.01, None), bins=np.geomspace(0.01, 200_000, 60), color="tab:orange")
right.set(title="Miles, as recorded", xlabel="miles", xscale="log", yscale="log")
plt.show()

# %% [markdown] tags=["exploration"]
# ## Step 2: clean the trips
#
# Trips of 1 to 60 minutes stay. Each rule counts what it rejects, so that a month with an unusual count is
# noticed.

# %%
cleaned = steps.clean_trips(months, settings)
cleaned.filter(regex="^month$|^kept$|^rejected").set_index("month").T

# %% [markdown] tags=["exploration"]
# What decides how long a ride takes? Half of the rides end within a quarter of an hour, and a few take long. The
# hour counts: an afternoon on a weekday is slow, a Sunday morning is fast. The distance counts most, but rides of
# the same distance still differ a lot.

# %% tags=["exploration"]
trips = pd.read_parquet(cleaned[cleaned["role"] == "training"]["path"].iloc[0])
minutes = trips["duration_minutes"]
at = trips["pickup_at"].dt
by_hour = minutes.groupby([at.weekday, at.hour]).median().unstack()

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
left.hist(minutes, bins=59)
left.axvline(minutes.median(), color="black", label=f"median {minutes.median():.0f} minutes")
left.set(title="How long rides take", xlabel="minutes", ylabel="rides")
left.legend(frameon=False)
shown = middle.imshow(by_hour, aspect="auto", cmap="viridis")
middle.set_yticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
middle.set(title="Slow hours: median minutes", xlabel="hour of the pickup")
figure.colorbar(shown, ax=middle)
near = trips["distance_miles"] < 15
right.hexbin(trips["distance_miles"][near], minutes[near], gridsize=45, bins="log", cmap="Blues")
right.set(title="Distance and minutes", xlabel="miles", ylabel="minutes")
plt.show()

# %% [markdown] tags=["exploration"]
# ## A baseline
#
# A model must beat what everybody can guess: the median duration of past rides between the two zones. The measure
# is the root of the mean squared error (RMSE), in minutes, on the validation month. Large misses weigh more in
# it.

# %% tags=["exploration"]
validation = pd.read_parquet(cleaned[cleaned["role"] == "validation"]["path"].iloc[0])
pair = ["pickup_zone", "dropoff_zone"]
medians = trips.groupby(pair)["duration_minutes"].median().rename("predicted").reset_index()
guessed = validation.merge(medians, on=pair, how="left")["predicted"].fillna(minutes.median())


def rmse(predicted):
    wrong = np.asarray(predicted) - validation["duration_minutes"].to_numpy()
    return round(float(np.sqrt(np.mean(wrong**2))), 3)


errors = pd.Series({"median of all rides": rmse(minutes.median()), "median of the two zones": rmse(guessed)})
errors.rename("validation RMSE, minutes").to_frame()

# %% [markdown] tags=["exploration"]
# ## A search by hand
#
# Gradient boosting on a few columns of one month, with parameters that a person would try. It helps, and it is
# tedious: every new column or month starts it again. The pipeline's search does this with hyperopt, on all
# training months, and stops when more trials gain nothing.

# %% tags=["exploration"]
import xgboost


def columns(table):
    at = table["pickup_at"].dt
    own = table[[*pair, "distance_miles"]].assign(minute=at.hour * 60 + at.minute, weekday=at.weekday)
    return own.astype("float32")


for depth in (4, 8):
    for learning_rate in (0.3, 0.1):
        model = xgboost.XGBRegressor(n_estimators=80, max_depth=depth, learning_rate=learning_rate, n_jobs=1)
        model.fit(columns(trips), minutes)
        errors[f"by hand: depth {depth}, rate {learning_rate}"] = rmse(model.predict(columns(validation)))
errors.sort_values().rename("validation RMSE, minutes").to_frame()

# %% [markdown] tags=["exploration"]
# ## Step 3: build the features
#
# Calendar and distance; the table shows them. What past rides say about the two zones is added in the next step,
# out of fold, so that no trip sees its own duration.

# %%
summary = steps.build_features(cleaned, settings)
summary.drop(columns="months")

# %% [markdown] tags=["exploration"]
# ## Step 4: tune, train, test, register
#
# The search runs on the validation month. The final fit uses training and validation months, and is tested once
# on the test month. MLflow's registry then has the version, and the verdict says whether it becomes champion.

# %%
result = steps.train_and_register(summary, settings)
print(f"{result.board['entry'].iloc[0]}: {result.outcome}: {result.reason}")

# %% [markdown] tags=["exploration"]
# The leaderboard: the version with its test, what it had to beat, and the best trials with their parameters.

# %% tags=["exploration"]
board = result.board.drop(columns=["about", "kind", "model", "number"]).set_index("entry")
board.head(8).map(lambda value: "" if pd.isna(value) else f"{value:.4g}")

# %% [markdown] tags=["exploration"]
# Was it worth it? All on the validation month: the guesses, the search by hand, the pipeline's best trial.

# %% tags=["exploration"]
errors["the pipeline's best trial"] = result.board["validation_rmse"].iloc[0]
ranked = errors.sort_values(ascending=False)
colours = ["tab:green" if name.startswith("the pipeline") else "tab:blue" for name in ranked.index]
figure, axes = plt.subplots(figsize=(9, 2.8), layout="constrained")
axes.bar_label(axes.barh(ranked.index, ranked, color=colours), fmt=" %.2f")
axes.set(title="RMSE on the validation month, minutes: shorter is better", xlim=(0, ranked.max() * 1.1))
plt.show()

# %% [markdown] tags=["exploration"]
# ## Ask it
#
# Any program loads the version from the registry like this, without this project's code. The same ride at every
# hour of a Tuesday: the predicted minutes, and the range in which four rides in five end.

# %% tags=["exploration"]
import mlflow

from mlops import config

mlflow.set_tracking_uri(config.tracking_uri())
version = mlflow.pyfunc.load_model(result.version.uri)
between = trips[trips["pickup_zone"] != trips["dropoff_zone"]]
here, there = between.groupby(pair).size().idxmax()
miles = between.groupby(pair)["distance_miles"].median()[here, there]
rides = pd.DataFrame({"pickup_at": pd.date_range("2023-07-11", periods=24, freq="h")})
rides = rides.assign(pickup_zone=here, dropoff_zone=there, distance_miles=miles, passenger_count=1)
answers = version.predict(rides)

figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
axes.fill_between(range(24), answers["low_80_minutes"], answers["high_80_minutes"], alpha=0.25)
axes.plot(answers["duration_minutes"], marker="o")
axes.set(xlabel="hour of the pickup", ylabel="minutes", ylim=(0, None))
axes.set_title(f"Zone {here} to zone {there}, {miles:.1f} miles")
plt.show()

# %% [markdown] tags=["exploration"]
# ## Where to go from here
#
# - `make mlflow` shows the run, its plots and the model card.
# - `make editor` opens the same steps as blocks in Mage. `docs/own_ideas.md` says where a rule, a feature or
#   another search space of your own goes.
# - `make script` writes the script of this notebook, and prints how to call it.
# - `docs/anywhere.md` shows the same steps under other orchestrators.
