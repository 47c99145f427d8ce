"""
Executors carry commands out: on a backend here (`local`); later with a spool (`failover`) and on a server (`remote`).
"""
