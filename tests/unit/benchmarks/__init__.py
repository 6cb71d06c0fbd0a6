"""tools/bench, what it makes of figures."""
