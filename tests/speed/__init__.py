"""How fast it is, compared with the least that must be done. Ratios only."""
