"""A Slack inbox: takes what a webhook takes and shows it."""
