"""The same records as kdrec, in-memory arrays and the streaming libraries of others keep them.

`measure` runs in a process of its own for every way, in the peers' environment for those that need
one, and imports nothing of kdrec but what a way itself needs; `environment` starts it.
"""
