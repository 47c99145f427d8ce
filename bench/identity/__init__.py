"""
How well keys follow findings through the releases of real packages.
"""
