"""zramfs.cli.options: every option, on the command line and behind -o."""

from pathlib import Path

import pytest

from zramfs.cli.arguments import Parser, path_argument
from zramfs.cli.options import add_mount_options, to_config
from zramfs.core.attributes import ATTRIBUTES
from zramfs.mount.config import Config

VALUES = {
    "disksize": "64M",
    "mem-limit": "1M",
    "comp-algorithm": "zstd",
    "rw-page": "no_wb",
    "backing-dev": "/dev/sdz9",
    "writeback-limit": "100",
    "writeback-limit-enable": "1",
    "writeback-batch-size": "8",
    "compressed-writeback": "1",
}
"""A good value for each setting."""


def parsed(*words: str) -> Config:
    parser = Parser(prog="zramfs mount")
    add_mount_options(parser)
    return to_config(parser.parse_args(["/mnt/z", *words]), foreground=False)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the sentence that *words* are refused with."""
    with pytest.raises(SystemExit) as end:
        parsed(*words)
    assert end.value.code == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence.endswith("; see 'zramfs mount --help'")
    return sentence


def test_a_mountpoint_is_enough() -> None:
    assert parsed() == Config(
        mountpoint="/mnt/z",
        settings={},
        data_path="lane",
        foreground=False,
        log_file=None,
    )


def test_every_attribute_that_is_an_option_has_a_value_here() -> None:
    options = {row.name.replace("_", "-") for row in ATTRIBUTES.values() if row.option}

    assert options <= VALUES.keys()


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_a_setting_is_kept_under_the_name_of_its_file(name: str, value: str) -> None:
    assert parsed(f"--{name}", value).settings == {name.replace("-", "_"): value}


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_a_setting_works_behind_o_as_well(name: str, value: str) -> None:
    settings = {name.replace("-", "_"): value}

    assert parsed("-o", f"{name}={value}").settings == settings
    assert parsed("-o", f"{name.replace('-', '_')}={value}").settings == settings


@pytest.mark.parametrize("path", ["lane", "pyfuse3"])
def test_the_data_path_can_be_chosen_both_ways(path: str) -> None:
    assert parsed("--data-path", path).data_path == path
    assert parsed("-o", f"data_path={path}").data_path == path
    assert parsed("-o", f"data-path={path}").data_path == path


def test_the_log_file_can_be_chosen_both_ways() -> None:
    assert parsed("--log-file", "/var/log/z").log_file == "/var/log/z"
    assert parsed("-o", "log_file=/var/log/z").log_file == "/var/log/z"


def test_a_log_file_is_where_it_was_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert parsed("--log-file", "z.log").log_file == f"{tmp_path}/z.log"


def test_several_options_may_stand_behind_one_o() -> None:
    config = parsed("-o", "disksize=1G,mem_limit=1M", "-o", "comp_algorithm=zstd")

    assert config.settings == {
        "disksize": "1G",
        "mem_limit": "1M",
        "comp_algorithm": "zstd",
    }


def test_the_last_value_counts() -> None:
    assert parsed("--disksize", "1G", "-o", "disksize=2G").settings["disksize"] == "2G"


def test_settings_are_not_kept_for_the_next_command_line() -> None:
    parsed("--disksize", "1G")

    assert parsed().settings == {}


@pytest.mark.parametrize(
    "options",
    [
        *("defaults", "rw", "nosuid,nodev,noexec", "noauto,nofail,_netdev"),
        *("user", "relatime,async", "x-systemd.automount", "x-gvfs-name=z,X-mount=y"),
        *("", ",", "rw,,nodev"),
    ],
)
def test_generic_options_of_mount_say_nothing(options: str) -> None:
    assert parsed("-o", options) == parsed()


@pytest.mark.parametrize(
    "options",
    [
        *("ro", "bogus", "bogus=1", "disksize", "rw=1", "mem_used_max=0", "reset=1"),
        *("=1", "mountpoint=/x", "foreground=1", "settings=x", "rw,bogus"),
    ],
)
def test_an_unknown_mount_option_is_refused(
    capsys: pytest.CaptureFixture[str], options: str
) -> None:
    sentence = refused(capsys, "-o", options)

    assert f"unknown mount option {options.removeprefix('rw,')!r}" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disksize", "much"),
        ("disksize", "0"),
        ("disksize", ""),
        ("mem-limit", "some"),
        ("comp-algorithm", "rar"),
        ("comp-algorithm", "x" * 200),
        ("rw-page", "sometimes"),
    ],
)
def test_a_bad_value_is_refused_both_ways(
    capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    row = name.replace("-", "_")

    assert f"bad {row}: " in refused(capsys, f"--{name}", value)
    assert f"bad {row}: " in refused(capsys, "-o", f"{row}={value}")


def test_an_unknown_data_path_is_refused_both_ways(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "'fast'" in refused(capsys, "--data-path", "fast")
    assert "unknown data path 'fast'" in refused(capsys, "-o", "data_path=fast")


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--bogus" in refused(capsys, "--bogus")


def test_a_mountpoint_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="zramfs mount")
    add_mount_options(parser)

    with pytest.raises(SystemExit):
        parser.parse_args([])

    assert "MOUNTPOINT" in capsys.readouterr().err


def test_the_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed("--help")

    text = capsys.readouterr().out
    assert end.value.code == 0
    assert all(f"--{name} " in text for name in (*VALUES, "data-path", "log-file"))


def test_the_foreground_is_passed_on() -> None:
    parser = Parser(prog="zramfs mount")
    add_mount_options(parser)
    args = parser.parse_args(["/mnt/z"])

    assert to_config(args, foreground=True).foreground


def test_a_backing_file_is_asked_for_in_whole_pages() -> None:
    config = parsed("--backing-size", "10000", "--encrypt", "aes-gcm")

    assert (config.backing_size, config.encrypt) == (8192, "aes-gcm")


def test_a_backing_file_can_be_asked_for_as_mount_options() -> None:
    config = parsed("-o", "backing_size=1M,encrypt=chacha20poly1305")

    assert (config.backing_size, config.encrypt) == (1 << 20, "chacha20poly1305")


@pytest.mark.parametrize("size", ["0", "4095", "many", ""])
def test_a_backing_size_is_a_page_at_least(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--backing-size", size], ["-o", f"backing_size={size}"]):
        assert "backing" in refused(capsys, *words)


def test_a_cipher_that_there_is_not_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "unknown encrypt 'rot13'" in refused(capsys, "-o", "encrypt=rot13")


def test_a_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert path_argument("mnt") == tmp_path / "mnt"
    assert path_argument("./a/../mnt") == tmp_path / "mnt"


def test_links_on_the_way_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert path_argument(str(tmp_path / "link" / "mnt")) == tmp_path / "real" / "mnt"


def test_a_mountpoint_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert path_argument(str(tmp_path / "link")) == tmp_path / "real"


def test_what_is_not_there_is_a_path_too(tmp_path: Path) -> None:
    assert path_argument(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
