"""Tasks of the flows that run now and then: keys, secrets, connections, the digest; they import no other stage."""
