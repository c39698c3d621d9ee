"""Histories that break a promise, each written twice: broken, and nearly so."""
