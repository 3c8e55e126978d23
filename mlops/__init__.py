"""Trip-duration models of New York's taxis: load, clean, fit, judge, register.

The README's table lists the modules in the order in which a trip flows;
``pipeline`` is the whole story.
"""

__version__ = "0.1.0"
