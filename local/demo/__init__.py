"""The demonstration: days of real data through every step, checked at the end against another computation."""
