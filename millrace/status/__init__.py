"""The status of the platform: a snapshot of every service in, one value and the page that shows it out."""
