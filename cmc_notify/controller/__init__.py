"""The CMC: sign-in, requests, and the vendor's JSON turned into the model.

Whatever a controller answers ends as a model object or as one of the errors in ``cmc_notify.errors``;
no foreign exception and no secret leaves this package.
"""

from cmc_notify.controller.client import Controller

__all__ = ["Controller"]
