"""What keeps a laboratory from working, said in words instead of by a stack trace."""


class LaboratoryError(Exception):
    """The laboratory cannot do what it was asked to; the text tells a person what to do."""
