"""zramfs.core.lifecycle: the full product of states and events."""

from itertools import product

import pytest

from zramfs.core.lifecycle import TRANSITIONS, Event, State, advance
from zramfs.errors import DeviceBusy, NotInitialised

ALLOWED = {
    (State.BARE, Event.SET_DISKSIZE): State.READY,
    (State.BARE, Event.CLAIM): State.RESETTING,
    (State.READY, Event.CLAIM): State.RESETTING,
    (State.RESETTING, Event.RESET_DONE): State.BARE,
}
REFUSED = {
    (State.BARE, Event.RESET_DONE): NotInitialised,
    (State.READY, Event.SET_DISKSIZE): DeviceBusy,
    (State.READY, Event.RESET_DONE): DeviceBusy,
    (State.RESETTING, Event.SET_DISKSIZE): DeviceBusy,
    (State.RESETTING, Event.CLAIM): DeviceBusy,
}


def test_every_state_meets_every_event_here() -> None:
    assert {*ALLOWED, *REFUSED} == set(product(State, Event))


def test_the_table_has_a_row_for_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "event"), ALLOWED)
def test_an_allowed_event_leads_on(state: State, event: Event) -> None:
    assert advance(state, event) is ALLOWED[state, event]


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_a_refused_event_names_itself_and_the_state(state: State, event: Event) -> None:
    message = f"{event.value} refused: the device is {state.value}"

    with pytest.raises(REFUSED[state, event], match=message):
        advance(state, event)
