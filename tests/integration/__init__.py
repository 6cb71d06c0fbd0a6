"""Real mounts, made by the real command line in a subprocess."""
