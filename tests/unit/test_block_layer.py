"""zramfs.core.block_layer: the files of any disk; transcripts play the rest."""

import pytest

from zramfs.core.attributes import ATTRIBUTES, Attribute
from zramfs.core.block_layer import DIRECTORIES, block_layer_files
from zramfs.core.device import Device
from zramfs.core.disk import Disk
from zramfs.errors import ZramError

LOOP = Disk(name="loop3", dev="7:3", diskseq="24")


def rows(disk: Disk | None = None) -> dict[str, Attribute]:
    return {row.name: row for row in block_layer_files(lambda: disk)}


def shown(row: Attribute, device: Device) -> str:
    assert row.show
    return row.show(device)


def test_no_name_is_there_twice() -> None:
    names = [row.name for row in block_layer_files(lambda: None)]

    assert len(names) == len(set(names))
    assert not set(names) & {*ATTRIBUTES, *DIRECTORIES}


@pytest.mark.parametrize("name", [*rows()])
def test_a_row_can_be_shown_and_says_what_it_is(name: str, bare: Device) -> None:
    row = rows()[name]

    assert shown(row, bare).endswith("\n") or name.startswith("events")
    assert row.mode in (0o444, 0o644)
    assert row.doc
    assert not row.doc.endswith(".")


def test_size_is_in_sectors(device: Device) -> None:
    assert shown(rows()["size"], device) == f"{device.disksize // 512}\n"


def test_stat_counts_requests_and_sectors(device: Device) -> None:
    device.write(0, memoryview(bytes(8192)))
    device.read(0, 4096)

    assert shown(rows()["stat"], device).split()[:7] == [*"10801", "0", "16"]


def test_an_attached_loop_device_is_the_one_it_shows(device: Device) -> None:
    files = rows(LOOP)

    assert shown(files["dev"], device) == "7:3\n"
    assert shown(files["diskseq"], device) == "24\n"
    assert shown(files["uevent"], device) == (
        "MAJOR=7\nMINOR=3\nDEVNAME=loop3\nDEVTYPE=disk\nDISKSEQ=24\n"
    )


def test_without_one_it_is_no_block_device(device: Device) -> None:
    files = rows()

    assert shown(files["dev"], device) == "0:0\n"
    assert shown(files["diskseq"], device) == "0\n"
    assert shown(files["uevent"], device) == "DEVTYPE=disk\n"


def test_the_loop_device_is_looked_for_at_each_read(device: Device) -> None:
    attached: list[Disk | None] = [None, LOOP]
    (dev,) = (
        row for row in block_layer_files(lambda: attached.pop(0)) if row.name == "dev"
    )

    assert [shown(dev, device), shown(dev, device)] == ["0:0\n", "7:3\n"]


@pytest.mark.parametrize("text", ["0", "4096\n", "+8192", "4194304"])
def test_whole_pages_can_be_the_most_that_is_discarded(
    device: Device, text: str
) -> None:
    row = rows()["queue/discard_max_bytes"]

    row.store(device, text)

    assert shown(row, device) == f"{int(text)}\n"


def test_what_is_set_holds_for_one_mount(device: Device) -> None:
    one, other = rows(), rows()

    one["queue/rotational"].store(device, "1")

    assert shown(one["queue/rotational"], device) == "1\n"
    assert shown(other["queue/rotational"], device) == "0\n"


def test_what_is_set_survives_a_reset(device: Device) -> None:
    files = rows()
    files["queue/read_ahead_kb"].store(device, "0")

    device.reset()

    assert shown(files["queue/read_ahead_kb"], device) == "0\n"


def test_a_refused_store_changes_nothing(device: Device) -> None:
    row = rows()["queue/nomerges"]
    row.store(device, "2")

    with pytest.raises(ZramError, match="abc"):
        row.store(device, "abc")

    assert shown(row, device) == "2\n"
