"""How good a model is, and whether it becomes champion. All of it is pure.

In reading order:

- `metrics`: errors, coverage, slices, and the pair median
- `comparison`: the evidence of a verdict, small enough to be kept
- `promotion`: promote, keep or refuse: the verdict
- `plots`: the plots of a model card
- `model_card`: the model card, from the text and the style in `templates/`
"""
