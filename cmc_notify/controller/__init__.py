"""Access to a CMC: sign-in, requests, and the vendor's JSON as model objects.

Whatever a controller sends ends as a model object or as one of the errors in ``cmc_notify.errors``;
no foreign exception and no secret leaves this package.
"""

from cmc_notify.controller.client import Controller

__all__ = ["Controller"]
