"""The life of a device: one table, nothing else knows it.

             SET_DISKSIZE
      BARE --------------> READY
       ^ |                   |
       | | CLAIM             | CLAIM
       | v                   |
    RESETTING <--------------+

    RESET_DONE leads from RESETTING to BARE.

BARE: no disksize; algorithms and limits may be chosen. READY: pages are stored.
RESETTING: claimed by a reset; nobody may open, initialise or claim it again.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from zramfs.errors import DeviceBusy, NotInitialised


class State(Enum):
    """Where a device is in its life."""

    BARE = "not initialised"
    READY = "initialised"
    RESETTING = "being reset"


class Event(Enum):
    """What can happen to a device."""

    SET_DISKSIZE = "disksize"
    CLAIM = "reset"
    RESET_DONE = "the end of the reset"


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.BARE: {Event.SET_DISKSIZE: State.READY, Event.CLAIM: State.RESETTING},
    State.READY: {Event.CLAIM: State.RESETTING},
    State.RESETTING: {Event.RESET_DONE: State.BARE},
}


def advance(state: State, event: Event) -> State:
    """Return the state that follows, or raise and change nothing.

    DeviceBusy if the device is too far for *event*, NotInitialised if not far
    enough.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        pass
    message = f"{event.value} refused: the device is {state.value}"
    if state is State.BARE:
        raise NotInitialised(message)
    raise DeviceBusy(message)
