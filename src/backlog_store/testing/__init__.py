"""
For tests of backends and of what is built on the store; shipped, so that third parties can certify a backend.

`conformance` is the suite, `agreement` the random programs, `histories` the check of concurrent clients, `faults` the
wrappers that misbehave, `clocks` the time and ids that are the same in every run, `strategies` values for Hypothesis.
See docs/guides/certify-a-backend.md.
"""
