"""Tasks of the maintenance flows: keys, secrets, connections, the digest; they import no other stage."""
