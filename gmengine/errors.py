"""Every exception of gmengine; each subclasses the builtin that a caller would catch."""


class GmengineError(Exception):
    """Base of all errors that name a user's mistake or a broken file."""


class ShapeError(GmengineError, ValueError):
    """An array's shape breaks an op's contract."""


class DTypeError(GmengineError, TypeError):
    """An array's dtype is neither float32 nor float64, or dtypes are mixed."""


class BackendError(GmengineError, TypeError):
    """Arrays of different libraries or devices met in one op, or a device is not usable."""


class NonFiniteError(GmengineError, ValueError):
    """An array holds NaN or infinity."""


class NotPositiveDefinite(GmengineError, ValueError):  # noqa: N818  (numpy's LinAlgError set no precedent)
    """A covariance of a present component is not symmetric positive definite."""


class ArgumentError(GmengineError, ValueError):
    """An argument's value is outside what the function accepts."""


class TapeError(GmengineError, RuntimeError):
    """A gradient was asked for that the tape cannot give."""


class FileFormatError(GmengineError, ValueError):
    """A file is damaged, truncated, or not of the format it was read as."""


class DataError(GmengineError, ValueError):
    """A data set is unknown, missing or inconsistent."""
