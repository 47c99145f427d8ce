"""
The command `backlog`: it parses, makes a command or a query, and prints the answer. It holds no rules.
"""
