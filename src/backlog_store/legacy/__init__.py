"""
What the original module left behind, taken in: its files, its tables, damaged as they may be.
"""
