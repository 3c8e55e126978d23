# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   language_info:
#     name: python
#     file_extension: .py
#     nbconvert_exporter: python
# ---

# %% [markdown] tags=["exploration"]
# # How long will a taxi ride take?
#
# From a first look at the trips to a registered model. The four steps are those of the pipeline; the other cells
# explore. `jupyter nbconvert --to script` leaves the exploration out. What is left is a script with options: the
# same steps, the same run key and the same version as `python -m mlops train`.

# %% [markdown] tags=["exploration"]
# ## What to train on
#
# Without options: the synthetic city, which needs no network. In the notebook, change the defaults below.

# %% tags=["parameters"]
import argparse
import logging
import sys

from mlops.config import Settings

options = argparse.ArgumentParser(description="Train, test and register a model for one month.")
options.add_argument("--service", default="green", help="green, yellow or fhvhv")
options.add_argument("--month", default="2023-06", help="test month, YYYY-MM")
options.add_argument("--source", default="sample", help="sample, tlc, a folder or a URL")
options.add_argument("--max-trials", default=18, type=int, help="trials on the lowest rung of the search")
is_notebook = "get_ipython" in globals()
settings = Settings.parse(vars(options.parse_args([] if is_notebook else None)))

logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
logging.getLogger("mlops").setLevel(logging.INFO)

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
# One file as published: a row is a trip, as the meter recorded it.

# %% tags=["exploration"]
import pandas as pd

training = months[months["role"] == "training"]
raw = pd.read_parquet(training["path"].iloc[0])
raw.head()

# %% [markdown] tags=["exploration"]
# Not every row is a ride. Some last a second, some a day, some drive 1,000 miles.

# %% tags=["exploration"]
pickup_at, dropoff_at = (raw.filter(like=name).iloc[:, 0] for name in ("pickup_datetime", "dropoff_datetime"))
raw_minutes = (dropoff_at - pickup_at).dt.total_seconds() / 60
pd.concat([raw_minutes.rename("minutes"), raw["trip_distance"].rename("miles")], axis=1).describe().round(1)

# %% [markdown] tags=["exploration"]
# ## Step 2: clean the trips
#
# Trips of 1 to 60 minutes stay. Each rule counts what it rejects.

# %%
cleaned = steps.clean_trips(months, settings)
cleaned.filter(regex="^month$|^kept$|^rejected").set_index("month").T

# %% tags=["exploration"]
import matplotlib.pyplot as plt

trips = pd.read_parquet(cleaned[cleaned["role"] == "training"]["path"].iloc[0])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
left.hist(trips["duration_minutes"], bins=59)
left.set(title="How long rides take", xlabel="minutes", ylabel="rides")
by_hour = trips.groupby(trips["pickup_at"].dt.hour)["duration_minutes"].median()
right.plot(by_hour)
right.set(title="Slow hours", xlabel="hour of the pickup", ylabel="median minutes", ylim=(0, None))
plt.show()

# %% [markdown] tags=["exploration"]
# ## A baseline
#
# A model must beat what everybody can guess: the median duration of past rides between the two zones. The measure
# is the root of the mean squared error (RMSE), in minutes, on the validation month.

# %% tags=["exploration"]
import numpy as np

validation = pd.read_parquet(cleaned[cleaned["role"] == "validation"]["path"].iloc[0])
pair = ["pickup_zone", "dropoff_zone"]
medians = trips.groupby(pair)["duration_minutes"].median().rename("predicted").reset_index()
overall = trips["duration_minutes"].median()
guessed = validation.merge(medians, on=pair, how="left")["predicted"].fillna(overall)


def rmse(predicted):
    wrong = np.asarray(predicted) - validation["duration_minutes"].to_numpy()
    return round(float(np.sqrt(np.mean(wrong**2))), 3)


errors = {"median of all rides": rmse(overall), "median of the two zones": rmse(guessed)}
errors

# %% [markdown] tags=["exploration"]
# ## A search by hand
#
# Gradient boosting on a few columns, with parameters that a person would try. It helps, and it is tedious: every
# new column or month starts it again. The pipeline's search does this with hyperopt, on all training months, and
# stops when more trials gain nothing.

# %% tags=["exploration"]
import xgboost


def columns(table):
    at = table["pickup_at"].dt
    own = table[[*pair, "distance_miles"]].assign(minute=at.hour * 60 + at.minute, weekday=at.weekday)
    return own.astype("float32")


for depth in (4, 8):
    for learning_rate in (0.3, 0.1):
        model = xgboost.XGBRegressor(n_estimators=80, max_depth=depth, learning_rate=learning_rate, n_jobs=1)
        model.fit(columns(trips), trips["duration_minutes"])
        errors[f"depth {depth}, learning rate {learning_rate}"] = rmse(model.predict(columns(validation)))
pd.Series(errors, name="validation RMSE, minutes").sort_values().to_frame()

# %% [markdown] tags=["exploration"]
# ## Step 3: build the features
#
# Calendar and distance, and what past rides say about the two zones. Past rides are encoded out of fold, so that
# no trip sees its own duration.

# %%
summary = steps.build_features(cleaned, settings)
summary.drop(columns="months")

# %% [markdown] tags=["exploration"]
# ## Step 4: tune, train, test, register
#
# The search runs on the validation month. The final fit uses training and validation months, and is tested once on
# the test month. MLflow's registry then has the version, and the verdict says whether it becomes champion.

# %%
result = steps.train_and_register(summary, settings)
print(f"{result.board['entry'].iloc[0]}: {result.outcome}: {result.reason}")

# %% tags=["exploration"]
result.board[["entry", "validation_rmse", "test_rmse", "test_mae", "test_p90", "about"]].fillna("")

# %% [markdown] tags=["exploration"]
# ## The way on
#
# - `make mlflow` shows the run, its plots and the model card.
# - `make editor` opens the same steps as blocks in Mage; `docs/own_ideas.md` says where a rule, a feature or
#   another search space goes.
# - The script of this notebook:
#
#       cd notebooks
#       ../.venv/bin/jupyter nbconvert --config script.json --to script trip_duration.ipynb \
#         --output-dir ../.state
#       ../.venv/bin/python ../.state/trip_duration.py --service green --month 2023-06 --source sample
