"""The synthetic city: generated months that look like TLC's, without a network.

In reading order:

- `city`: places, traffic, and typical faults of taxi meters
- `districts`: the zones of the city as shapes
- `columns`: the trips in TLC's format, by service
- `source`: the city as a source of months
"""
