"""
Benchmarks: ours against the floor of each engine, in one run.
"""
