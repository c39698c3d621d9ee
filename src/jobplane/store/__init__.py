"""The only code that speaks to a driver."""
