"""Whatever is written to whatever attribute: a documented errno, or it is done.

After an error everything that can be shown is as it was before: statistics,
settings, and the state of each page. Texts are bytes, or nearly what the grammars
take.
"""

import errno
import os
import re

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from tests.backing import attach, backings_of
from tests.unit.passes import fill, opened, run
from tests.verify import opened_device, verify
from zramfs.core.attributes import ATTRIBUTES
from zramfs.core.block_layer import block_layer_files
from zramfs.core.block_state import read_block_state
from zramfs.core.codecs import DEFAULTS
from zramfs.core.device import Device
from zramfs.core.steps import Steps
from zramfs.errors import (
    BackingDeviceFull,
    InvalidValue,
    NoSuchFile,
    WritebackLimitReached,
    ZramError,
)
from zramfs.mount.control import control_files
from zramfs.mount.paths import Paths, RwPage

ROWS = {
    row.name: row
    for row in (
        *ATTRIBUTES.values(),
        *block_layer_files(lambda: None),
        *control_files(Paths(RwPage.ALWAYS), lane=False),
    )
}
WRITABLE = [name for name, row in ROWS.items() if row.parse]

BUSY, INVALID, RANGE = errno.EBUSY, errno.EINVAL, errno.ERANGE

DOCUMENTED = {
    "disksize": {INVALID, BUSY, errno.ENOMEM},
    "reset": {INVALID, RANGE, BUSY},
    "compact": {INVALID},
    "mem_limit": {INVALID},
    "mem_used_max": {INVALID},
    "idle": {INVALID},
    "comp_algorithm": {INVALID, errno.E2BIG, BUSY},
    "recomp_algorithm": {INVALID, RANGE, errno.E2BIG, BUSY},
    "recompress": {INVALID, RANGE},
    "algorithm_params": {INVALID, RANGE, BUSY, errno.ENOENT},
    "backing_dev": {
        *(BUSY, INVALID, errno.ENOENT, errno.EISDIR, errno.ENOTDIR),
        *(errno.ENAMETOOLONG, errno.ENOTBLK),
    },
    "writeback": {INVALID, RANGE, errno.ENODEV, errno.ENOSPC, errno.EIO},
    "writeback_limit": {INVALID},
    "writeback_limit_enable": {INVALID},
    "writeback_batch_size": {INVALID},
    "compressed_writeback": {INVALID, BUSY},
    "rw_page": {INVALID, errno.EOPNOTSUPP},
}
"""What each may be refused with (ABI documentation and observation of Linux 7.3)."""

OF_THE_BLOCK_LAYER = {INVALID, RANGE, errno.ENODEV}

DOCS = [row.doc for row in ROWS.values() if row.parse]

DOCUMENTED_KEYS = sorted({key for doc in DOCS for key in re.findall(r"([\w.]+)=", doc)})
"""The keys of all the grammars, as the rows of the table document them."""

DOCUMENTED_WORDS = sorted(
    {
        word
        for doc in DOCS
        for choice in re.findall(r"\w+(?:\|\w+)+", doc)
        for word in choice.split("|")
    }
)
"""The words that they give a choice of."""

blanks = st.sampled_from(["", "", "", " ", "\n", "\t", "\n\n", "\v", "\xa0"])
numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([9, 22, 62, 3624, 3625, 4096, 65535, 65536, 1 << 20]),
    st.sampled_from(
        [(1 << bits) + off for bits in (31, 32, 63, 64) for off in (-1, 0)]
    ),
    st.integers(-(1 << 33), 1 << 65),
).flatmap(
    lambda number: st.sampled_from(
        [str(number), hex(number), f"+{number}", f"0{number}"]
    )
)
names = st.sampled_from(
    ["lz4", "lz4hc", "zstd", "deflate", "lzo", "842", "LZ4", "n" * 128]
)
values = st.one_of(
    numbers,
    names,
    st.sampled_from(
        [
            *(*DOCUMENTED_WORDS, "all", "always", "no_wb", "/d", "/no"),
            *("/backing0", "0-3", "1-2", "2-1", "1-", "-1", "3-4", "yes", "off"),
        ]
    ),
    st.text("01 x\"='", max_size=4),
)
keys = st.sampled_from([*DOCUMENTED_KEYS, "foo", "", '"algo', '"level'])
words = st.one_of(
    values,
    st.builds("{}={}".format, keys, values),
    st.builds('{}="{}"'.format, keys, values),
    st.builds("{}{}".format, numbers, st.sampled_from([*"KMGTPEkxe", "KB", " M"])),
)
sentences = st.lists(st.tuples(blanks, words, blanks), max_size=4).map(
    lambda triples: "".join(map("".join, triples))
)
texts = st.one_of(
    sentences,
    st.lists(words, max_size=4).map(" ".join),
    st.binary(max_size=12).map(lambda data: os.fsdecode(data.split(b"\0")[0])),
    st.text(max_size=6)
    .map(lambda text: text.replace("\0", ""))
    .filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)),
)


def read_file(path: str) -> bytes:
    if path != "/d":
        raise NoSuchFile(path)
    return b"\x37\xa4\x30\xec no dictionary of zstd"


def shown(device: Device) -> object:
    """Return all there is to see of a device, and how many are open."""
    shows = {name: row.show(device) for name, row in ROWS.items() if row.show}
    state = read_block_state(device, 0, 1 << 20) if device.disksize else None
    return (
        shows,
        state,
        list(device.config.algorithms),
        list(device.config.params),
        device.openers,
    )


def store(device: Device, name: str, text: str) -> None:
    """Store, and follow a refusal: it has an errno, and changes nothing."""
    before = shown(device)
    has_params = any(params != DEFAULTS for params in device.config.params)
    refusal: ZramError | OSError | None = None
    steps: Steps | None = None
    try:
        steps = ROWS[name].store(device, text)
        run(steps)
    except (ZramError, OSError) as error:
        refusal = error
    if refusal:
        assert refusal.errno in DOCUMENTED.get(name, OF_THE_BLOCK_LAYER)
        # A disksize that a codec refuses forgets what was chosen, and a dictionary
        # that cannot be read the parameters that it was to be one of.
        forgets = name == "disksize" and isinstance(refusal, InvalidValue)
        forgets = forgets and has_params and "not a" not in str(refusal)
        # What a writeback has done it has done.
        partly = isinstance(refusal, (BackingDeviceFull, WritebackLimitReached))
        if not forgets and not partly and not (name == "algorithm_params" and steps):
            assert shown(device) == before
    verify(device)


def begin(device: Device, *, initialised: bool) -> None:
    device.files._read_file = read_file
    device.tick(1000)
    backings_of(device).make(2)
    if initialised:
        attach(device, 2)
        opened(device, "lz4", "zstd", "deflate", nr_slots=4)
        fill(device, "text", "rand", "same:5")
        run(device.mark_idle(None))


def test_every_store_has_its_errnos() -> None:
    zrams = [name for name, row in ATTRIBUTES.items() if row.parse]

    assert [*zrams, "rw_page"] == sorted(DOCUMENTED, key=list(ROWS).index)


def test_the_grammars_are_those_of_the_table() -> None:
    assert {"algo", "page_index", "max_pages", "deflate.winbits"} <= {*DOCUMENTED_KEYS}
    assert {"idle", "huge_idle", "incompressible"} <= {*DOCUMENTED_WORDS}


@pytest.mark.parametrize("initialised", [False, True], ids=["bare", "ready"])
@pytest.mark.parametrize("name", WRITABLE)
@settings(max_examples=30)
@given(text=texts)
def test_a_store_is_done_or_refused_with_an_errno(
    name: str, text: str, *, initialised: bool
) -> None:
    with opened_device() as device:
        begin(device, initialised=initialised)

        store(device, name, text)


@given(st.lists(st.tuples(st.sampled_from(WRITABLE), texts), max_size=8))
@example([("algorithm_params", "dict=/d algo=lz4"), ("disksize", "1M")])
@example(
    [("comp_algorithm", "zstd"), ("algorithm_params", "dict=/d"), ("disksize", "1M")]
)
@example([("recomp_algorithm", "algo=zstd"), ("disksize", "4K"), ("recompress", "")])
@example(
    [
        *(("backing_dev", "/backing0"), ("disksize", "16K"), ("writeback", "huge")),
        ("backing_dev", "/backing0"),
    ]
)
@example([("algorithm_params", "level=99999"), ("disksize", "4K"), ("disksize", "4K")])
def test_any_stores_after_another_are_done_or_refused(
    stores: list[tuple[str, str]],
) -> None:
    with opened_device() as device:
        begin(device, initialised=False)

        for name, text in stores:
            store(device, name, text)
