"""Tasks of `ingest` and `land`: a source in, a manifest per stream in the lake out; they import no other stage."""
