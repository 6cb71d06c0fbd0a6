"""The tests of zramfs; what a test may do is said in its directory."""

import pytest

# Their assertions are explained as those of a test module are.
pytest.register_assert_rewrite(
    "tests.verify", "tests.property.model", "tests.conformance.transcript"
)
