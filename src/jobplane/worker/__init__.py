"""Claim jobs, run their handlers, report the outcomes, and take back what others left behind."""
