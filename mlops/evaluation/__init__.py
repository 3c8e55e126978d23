"""How good a model is, and whether it becomes champion. Only `plots` writes files.

In reading order:

- `metrics`: errors, measures of the intervals, slices
- `baseline`: the pair median, and the intervals of past trips
- `comparison`: the evidence for a verdict, small enough to store with a model
- `interval_rules`: what the verdict requires of the intervals
- `promotion`: the verdict: promote, keep or refuse
- `plots`: the plots of a model card
- `model_card`: the model card, from the templates in `templates/`
"""
