"""A folder of DICOM files as one image: the series is checked before it becomes a volume."""

from autoseg.io.dicom.folder import holds_dicom
from autoseg.io.dicom.reader import decode_series, series_digest

__all__ = ["decode_series", "holds_dicom", "series_digest"]
