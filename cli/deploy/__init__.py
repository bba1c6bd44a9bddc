"""What Prefect does by itself: one YAML file per automation, applied by name."""
