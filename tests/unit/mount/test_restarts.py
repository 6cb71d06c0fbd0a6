"""zramfs.mount.restarts: when a worker that died is replaced."""

import signal
from itertools import takewhile

import pytest

from zramfs.mount.restarts import Restarts

KILLED = -signal.SIGKILL
CRASHED = -signal.SIGSEGV


def test_a_worker_that_served_is_replaced_at_once() -> None:
    assert Restarts().after(caught_up=True, status=KILLED, life_s=0.1) == 0.0


def test_workers_that_served_can_be_killed_for_ever() -> None:
    restarts = Restarts()

    pauses = [
        restarts.after(caught_up=True, status=KILLED, life_s=0.1) for _ in range(1000)
    ]

    assert pauses == [0.0] * 1000


@pytest.mark.parametrize(
    ("caught_up", "status", "life_s"),
    [
        (False, KILLED, 0.1),  # something kills them as they begin
        (False, KILLED, 1000.0),
        (True, CRASHED, 0.1),  # what crashed it came again
        (True, 1, 0.1),
    ],
)
def test_failures_in_a_row_are_given_up_after_longer_and_longer_pauses(
    *, caught_up: bool, status: int, life_s: float
) -> None:
    restarts = Restarts()

    pauses = list(
        takewhile(
            lambda pause: pause is not None,
            (
                restarts.after(caught_up=caught_up, status=status, life_s=life_s)
                for _ in range(100)
            ),
        )
    )

    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize("status", [CRASHED, KILLED])
def test_one_that_served_well_is_a_new_beginning(status: int) -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.after(caught_up=False, status=CRASHED, life_s=0.1)

    pause = restarts.after(caught_up=True, status=status, life_s=60.0)

    assert (pause, restarts.failures) == (0.0, 0)
