"""Compares each published month with what the champion had promised, says why it differs, and reacts.

In reading order: `steps` (the story: the three steps of the pipeline), `settings`, `months` (which month, which
versions served, which months came before), `answers` (predictions, kept on disk), `sums` (errors by day and cell),
`changes` (mix and error at constant mix), `samples` (trips to compare inputs with), `drift`, `faults` (what may be
wrong with the data), `causes` (alarm or not, and why), `estimates` (the error to expect before labels),
`reactions` (rollback and retraining), `record` (what is kept of a month), `report`, `history` and `message`.
"""
