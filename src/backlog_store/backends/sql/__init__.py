"""
What the SQL backends share: one compiler from queries to SQL, and the two dialects it writes.
"""
