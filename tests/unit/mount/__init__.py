"""Unit tests of the mount, without one."""
