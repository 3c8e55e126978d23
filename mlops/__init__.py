"""Trip-duration models of New York's taxis: load, clean, fit, judge, register.

Read the modules in the order in which a trip flows: ``month``, ``config``,
``tlc``, ``sample``, ``trips``, ``features``, ``dataset``, ``model``,
``tuning``, ``evaluation``, ``registry``, ``pipeline``.
"""

__version__ = "0.1.0"
