"""Benchmarks: each prints kdrec and an alternative side by side, run in turn, as ratios."""
