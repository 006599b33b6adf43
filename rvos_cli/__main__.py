"""``python -m rvos_cli``, and what the command ``rvos`` begins with."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command; an interrupt while Python still loads it ends in one line as well."""
    try:
        from rvos_cli.cli.app import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
