"""
Delivering webhooks: where they may go, and the loop that sends what is due. What is kept of them is in `hooks`.
"""
