"""Enqueue jobs and look after them: the two clients, asynchronous and synchronous."""
