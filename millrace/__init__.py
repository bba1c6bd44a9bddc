"""The platform without an orchestrator, from contracts to pages; it imports no other folder of this project."""
