"""How good a model is, and whether it becomes champion. Only `plots` writes files.

In reading order:

- `metrics`: errors, coverage, slices, and the pair median
- `comparison`: the evidence for a verdict, small enough to store with a model
- `promotion`: the verdict: promote, keep or refuse
- `plots`: the plots of a model card
- `model_card`: the model card, from the templates in `templates/`
"""
