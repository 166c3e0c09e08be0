"""What can go wrong, as one family of exceptions.

Every error that a file, a picture or a machine can cause is an `OdpError`. Mistakes of the calling
code (a wrong array shape, a negative size) are `ValueError`, as everywhere in Python.
"""


class OdpError(Exception):
    """Base of every error that onedpiece raises on purpose."""


class NotAnOdpFile(OdpError):
    """The data does not begin like an .odp picture."""


class UnsupportedFile(OdpError):
    """The file uses a version or a feature that this reader does not know."""


class DamagedFile(OdpError):
    """The file is an .odp picture, but its bytes break the rules of the format."""


class TruncatedFile(DamagedFile):
    """The file has lost tokens at its end, and a complete one was required."""


class TruncatedFileWarning(UserWarning):
    """The file has lost tokens at its end; it was decoded from the remaining ones."""


class UnknownModel(OdpError):
    """The file names a token set of which no model is installed here."""


class UnknownDecoder(OdpError):
    """No installed model has a decoder of this name for the token set of the file."""


class ModelError(OdpError):
    """The files of a model are broken or incomplete."""


class DownloadError(OdpError):
    """A published model cannot be fetched."""


class PictureError(OdpError):
    """The picture cannot be read."""


class LimitExceeded(OdpError):
    """The picture, or a chunk of the file, is larger than allowed."""


class TargetNotReached(OdpError):
    """No file of this picture has the requested size or quality."""


class DeviceError(OdpError):
    """The requested device is not available."""


class OutputError(OdpError):
    """The output exists already, or cannot be written."""


def missing_extra(what: str, error: ImportError) -> OdpError:
    """What to raise where `what` needs PyTorch and its companions, which are not installed."""
    return OdpError(f"{what} needs the extra: pip install 'onedpiece[torch]' ({error})")
