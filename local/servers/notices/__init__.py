"""A REST API on 127.0.0.1 to practise on: notices of airports, in pages, with a token and a limit of requests."""
