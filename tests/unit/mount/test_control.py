"""zramfs.mount.control: the files that the kernel's zram does not have."""

import os

import pytest

from zramfs.core.attributes import Attribute
from zramfs.core.device import Device
from zramfs.errors import InvalidValue, ModeNotSupported
from zramfs.mount.control import control_files
from zramfs.mount.paths import Paths, RwPage


def rows(paths: Paths, *, lane: bool = True) -> dict[str, Attribute]:
    return {row.name: row for row in control_files(paths, lane=lane)}


def shown(row: Attribute, device: Device) -> str:
    assert row.show
    return row.show(device)


def test_they_have_their_modes() -> None:
    modes = {name: row.mode for name, row in rows(Paths(RwPage.ALWAYS)).items()}

    assert modes == {
        "block_state": 0o400,
        "rw_page": 0o644,
        "rw_page_stat": 0o444,
        "metrics": 0o444,
        "spill_stat": 0o444,
        "swap_safety": 0o444,
        "worker_pid": 0o444,
        "supervisor_pid": 0o444,
    }


@pytest.mark.parametrize("mode", RwPage)
def test_storing_a_mode_selects_it_at_once(device: Device, mode: RwPage) -> None:
    paths = Paths(RwPage.ALWAYS)

    rows(paths)["rw_page"].store(device, f"{mode.value}\n")

    assert paths.mode is mode


def test_the_mode_can_be_chosen_without_a_disksize(bare: Device) -> None:
    paths = Paths(RwPage.ALWAYS)

    rows(paths)["rw_page"].store(bare, "off")

    assert shown(rows(paths)["rw_page"], bare) == "always no_wb [off]\n"


@pytest.mark.parametrize("mode", [RwPage.ALWAYS, RwPage.NO_WB])
def test_without_a_lane_there_is_no_synchronous_mode(
    device: Device, mode: RwPage
) -> None:
    paths = Paths(RwPage.OFF)

    with pytest.raises(ModeNotSupported, match=f"{mode.value}: this mount has no"):
        rows(paths, lane=False)["rw_page"].store(device, mode.value)

    assert paths.mode is RwPage.OFF


def test_without_a_lane_off_may_be_stored(device: Device) -> None:
    paths = Paths(RwPage.OFF)

    rows(paths, lane=False)["rw_page"].store(device, "off\n")

    assert paths.mode is RwPage.OFF


def test_a_wrong_mode_is_a_wrong_mode_without_a_lane_too(device: Device) -> None:
    row = rows(Paths(RwPage.OFF), lane=False)["rw_page"]

    with pytest.raises(InvalidValue, match="not one of"):
        row.store(device, "sometimes")


def test_the_counters_are_those_of_the_paths(device: Device) -> None:
    paths = Paths(RwPage.ALWAYS)
    paths.stat.discards = 4

    assert "discards 4\n" in shown(rows(paths)["rw_page_stat"], device)


def test_the_worker_says_which_process_it_is(device: Device) -> None:
    row = rows(Paths(RwPage.ALWAYS))["worker_pid"]

    assert shown(row, device) == f"{os.getpid()}\n"


def test_only_the_mode_is_an_option() -> None:
    options = {name: row.option for name, row in rows(Paths(RwPage.ALWAYS)).items()}

    assert options == {
        "rw_page": "MODE",
        "rw_page_stat": None,
        "block_state": None,
        "metrics": None,
        "spill_stat": None,
        "swap_safety": None,
        "worker_pid": None,
        "supervisor_pid": None,
    }
