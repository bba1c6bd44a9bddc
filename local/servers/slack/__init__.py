"""A Slack inbox: it accepts webhook posts and shows them."""
