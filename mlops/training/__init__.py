"""From clean trips to a fitted model.

In reading order:

- `feature_files`: trips of a month as numbers, written once and read in batches
- `boosting`: trips binned once for any number of trials, and trees fitted on them
- `search`: the search for hyperparameters: a space, rungs, trials, a budget
- `fit`: tune on one month, calibrate the intervals on it, fit again with it
- `baselines`: the course's recipe, which a model has to beat
"""
