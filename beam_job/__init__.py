"""The merge: landed files in, one winner per key and register out, then one transaction in the warehouse."""
