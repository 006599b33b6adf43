"""``python -m rvos_cli``: the same as the command ``rvos``."""

from rvos_cli.cli.app import main

if __name__ == "__main__":
    main()
