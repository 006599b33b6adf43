"""The command line: turns words into calls of the library and its answers into text; the only place with Rich."""
