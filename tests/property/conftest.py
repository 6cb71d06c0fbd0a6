"""The profile of all property tests: fast enough for every run of the checks.

With CI in the environment the examples are always the same, so that a failure
there is a failure here; without, each run looks at new ones.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "zramfs",
    database=None,
    deadline=None,  # two slow cores with other work
    derandomize=bool(os.environ.get("CI")),
    max_examples=60,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)


@pytest.fixture(autouse=True, scope="package")
def profile() -> Iterator[None]:
    """Use the profile here, and whatever was used before elsewhere."""
    before = settings.get_current_profile_name()
    settings.load_profile("zramfs")
    yield
    settings.load_profile(before)
