"""
Failover, `auto`: reports and comments are accepted while the database is away, and arrive later exactly once.
"""
