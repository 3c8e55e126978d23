"""Compares each published month with what the champion had promised, says why it differs, and reacts.

In reading order: `steps` (the story: the three steps of the pipeline), `settings`, `months` (which month is
compared, and which months came before), `served` (which versions served), `comparing` (a month compared with
the promise), `answers` (predictions, kept on disk), `cells` (groups of similar rides), `sums` (errors by day
and cell), `measures` (errors overall and by slice), `changes` (mix and error at constant mix), `samples` (trips
to compare inputs with), `drift`, `faults` (what may be wrong with the data), `causes` (alarm or not, and why),
`estimates` (the error to expect before labels), `reactions` (rollback and retraining), `record` (what is kept
of a month), `report`, `history` and `message`.
"""
