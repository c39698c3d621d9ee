"""What happened, as data, and the check that it is what guarantees promise: pure, without I/O."""
