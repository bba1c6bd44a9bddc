"""Tables of MySQL and MariaDB, in full or by a cursor, with the configuration of `airbyte/source-mysql`."""
