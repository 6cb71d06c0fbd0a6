"""What holds for any input: Hypothesis against models."""
