"""From clean trips to a fitted model.

In reading order:

- `own_feature_checks`: checks of features of your own, before a model is trained
- `feature_files`: the features of a month's trips, written once and read in batches
- `boosting`: bin the trips once, and fit boosted trees on them
- `search_space`: the hyperparameters that the search tries: the place to change them
- `search`: the search for hyperparameters: rungs, trials and budget
- `coverage_aim`: the coverage that the intervals are calibrated to, from that of earlier months
- `calibration`: learn how large errors usually are, and calibrate the intervals on the validation month
- `fit`: tune on the validation month, learn the intervals, fit again with that month
- `baselines`: the course's recipe (a well-known MLOps course's notebook), the usual baseline
"""
