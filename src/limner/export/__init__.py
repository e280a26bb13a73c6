"""A run's generator as a file for other programs: ONNX, OpenVINO, TorchScript."""

from limner.export.exporting import export_run
from limner.export.formats import FORMATS

__all__ = ["FORMATS", "export_run"]
