"""Tasks of `merge`: pending manifests in, a committed and announced batch out; they import no other stage."""
