"""Messages of Pub/Sub and notifications of Airbyte in, Prefect events out."""
