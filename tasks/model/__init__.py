"""Tasks of `model`: merged batches in, published marts out; they import no other stage."""
