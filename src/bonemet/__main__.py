"""``python -m bonemet`` is the command line."""

from bonemet.cli.entry import main

main()
