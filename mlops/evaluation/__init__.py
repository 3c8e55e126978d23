"""How good a model is, and whether it becomes champion. Only `plot_style` writes files.

In reading order:

- `metrics`: errors, measures of the intervals, slices
- `baseline`: the pair median, and the intervals of past trips
- `comparison`: the evidence for a verdict, small enough to store with a model
- `interval_rules`: what the verdict requires of the intervals
- `promotion`: the verdict: promote, keep or refuse
- `explanation`: what a model's predictions depend on, and why one ride takes so long
- `words`: words for features, their values and slices
- `plot_style`, `plots`, `explanation_plots`: the figures of a model card, in one style
- `card`, `card_summary`, `card_tables`, `card_format`: the content of a model card, and how it is shown
- `model_card`: the model card, from the templates in `templates/`
"""
