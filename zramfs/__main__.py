"""``python -m zramfs`` is the ``zramfs`` command."""

import sys

from zramfs.cli.main import main

sys.exit(main())
