"""The platform at a glance: what is known of it now, as one value, and the page that shows it."""
