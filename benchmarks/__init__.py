"""``tools/bench``: zramfs beside what else there is, on this machine, in one run."""
