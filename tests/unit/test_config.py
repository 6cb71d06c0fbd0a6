"""zramfs.core.config: algorithms and parameters, kept as a text."""

import pytest

from zramfs.core.codecs import DEFAULTS, Params
from zramfs.core.config import MAX_ALGORITHMS, DeviceConfig
from zramfs.core.device import Device
from zramfs.errors import InvalidValue, OutOfMemory

CHOSEN = (
    DeviceConfig()
    .with_algorithm(0, "zstd")
    .with_algorithm(2, "deflate")
    .with_params(0, Params(level=-5, dictionary=bytes(range(256))))
    .with_params(2, Params(winbits=-9))
)


def same(one: DeviceConfig, other: DeviceConfig) -> bool:
    names = list(one.algorithms) == list(other.algorithms)
    return names and list(one.params) == list(other.params)


def test_without_a_text_all_is_the_default() -> None:
    config = DeviceConfig.from_json(b"")

    assert list(config.algorithms) == ["lz4", None, None, None]
    assert list(config.params) == [DEFAULTS] * MAX_ALGORITHMS


@pytest.mark.parametrize("config", [DeviceConfig(), CHOSEN])
def test_what_is_kept_as_a_text_comes_back(config: DeviceConfig) -> None:
    assert same(DeviceConfig.from_json(config.to_json()), config)


def test_another_algorithm_has_the_default_parameters() -> None:
    config = CHOSEN.with_algorithm(0, "lz4hc")

    assert (config.algorithms[0], config.params[0]) == ("lz4hc", DEFAULTS)
    assert config.params[2] == Params(winbits=-9)


def test_what_is_not_configured_is_not_found() -> None:
    assert CHOSEN.find("deflate", 1) == 2
    with pytest.raises(InvalidValue, match="deflate is not configured"):
        CHOSEN.find("deflate", 3)


def test_whatever_changes_the_config_keeps_it(bare: Device) -> None:
    bare.set_algorithm(0, "zstd")
    assert same(DeviceConfig.from_json(bare.header.config), bare.config)
    bare.set_params(0, Params(level=7))
    assert same(DeviceConfig.from_json(bare.header.config), bare.config)

    bare.reset()

    assert same(DeviceConfig.from_json(bare.header.config), DeviceConfig())


def test_a_dictionary_that_cannot_be_kept_is_not_used(bare: Device) -> None:
    with pytest.raises(OutOfMemory, match=r"configuration of .* is too long"):
        bare.set_params(0, Params(dictionary=bytes(50 << 20)))

    assert bare.config.params[0] == DEFAULTS
