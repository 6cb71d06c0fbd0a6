"""The tests of zramfs; what a test may do is said in its directory."""
