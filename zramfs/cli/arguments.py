"""What every command's arguments have in common."""

import argparse
import os
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and the sentence."""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def path_argument(text: str) -> Path:
    """Return the absolute path of a mountpoint, without looking at it.

    Its last part may be a dead mount that cannot be looked at.
    """
    parent, name = os.path.split(Path(text).absolute())
    path = Path(os.path.realpath(parent), name)
    try:
        path.readlink()
    except OSError:
        return path
    return path.resolve()
