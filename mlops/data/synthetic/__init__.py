"""The synthetic city: months that look like TLC's, made without a network.

In reading order:

- `city`: its places, its traffic, and the faults that meters have
- `columns`: its trips as TLC writes them, service by service
- `source`: the city as a source of months
"""
