"""Unit tests of the command line, without a mount."""
