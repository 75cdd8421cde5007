"""The error that people read: shown as one message, without a traceback."""


class StudyError(ValueError):
    """Something the user can put right. The message names the file, key or row, the value and what is allowed."""


class ChangedInput(StudyError):
    """Pictures are not those of the manifest: no property of one network, so the whole stage stops."""
