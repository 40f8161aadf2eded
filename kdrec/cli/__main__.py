"""`python -m kdrec.cli`, which torchrun can start."""

from kdrec.cli import main

main()
