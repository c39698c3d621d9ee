"""Subscribers of events that tell the outside world: one file for each way of telling."""
