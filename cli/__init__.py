"""The command line `millrace`: what a person does with the platform, on one machine or on Google Cloud."""
