"""We beside what a user would pick instead: one run, two workers each, rounds interleaved, medians.

`run` starts one process for each (round, peer), `measure` is that process, `peers` holds one module for each peer.
"""
