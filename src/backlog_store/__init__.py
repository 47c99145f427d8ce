"""A durable engineering backlog that machines write and people work."""
