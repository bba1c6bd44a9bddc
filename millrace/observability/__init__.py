"""What the platform tells of itself: the shape of log lines, their vocabulary, and the alerts that read them."""
