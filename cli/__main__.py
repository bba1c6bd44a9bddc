"""`python -m cli`, the same as `millrace`, for processes that start it without its script."""

from cli.main import main

if __name__ == "__main__":
    main()
