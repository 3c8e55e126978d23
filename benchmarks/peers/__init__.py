"""Scripts that run in the peers' own environment. The benchmark itself imports none of them."""
