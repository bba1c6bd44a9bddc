"""The command line `millrace`: operates the platform, on one machine or on Google Cloud."""
