"""The modules one by one: no mount, no sleep, no mock."""
