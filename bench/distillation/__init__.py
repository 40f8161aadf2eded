"""Students on real clouds: what a recorded teacher, and each loss, gives. See `__main__`."""
