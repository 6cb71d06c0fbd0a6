"""zramfs.mount.config: what a worker is told survives the command line."""

import json
from dataclasses import replace

import pytest

from zramfs.mount.config import DATA_PATHS, LANE, Config

CONFIG = Config(
    mountpoint="/mnt/a b",
    settings={"disksize": "1G", "comp_algorithm": "zstd"},
    data_path=LANE,
    foreground=False,
    log_file=None,
)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, ready_fd=7, foreground=True, log_file="/var/log/zramfs"),
        replace(CONFIG, settings={}),
        replace(CONFIG, mountpoint='/mnt/"\n\\\u00e4\udcff'),
    ],
    ids=["plain", "full", "empty", "odd"],
)
def test_what_is_written_is_read(config: Config) -> None:
    assert Config.from_json(config.to_json()) == config


def test_it_is_one_word_of_ascii() -> None:
    text = replace(CONFIG, mountpoint="/mnt/\u00e4\0").to_json()

    assert text.isascii()
    assert "\0" not in text


def test_nobody_waits_unless_told() -> None:
    assert json.loads(CONFIG.to_json())["ready_fd"] is None


def test_the_lane_is_the_default_path() -> None:
    assert DATA_PATHS[0] == LANE
