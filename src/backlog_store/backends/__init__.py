"""
The backends behind the port: memory, jsonl, sqlite, postgres, null. See DESIGN.md beside this file.
"""
