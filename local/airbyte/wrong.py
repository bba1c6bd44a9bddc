"""The refusal of a request."""


class Wrong(Exception):
    """A request that is refused, with the status it is refused by."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
