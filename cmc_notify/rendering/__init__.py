"""Rendering: turns an event and its message into one document for a medium."""

from cmc_notify.rendering.check import check_templates
from cmc_notify.rendering.renderer import Renderer, builtin_templates

__all__ = ["Renderer", "builtin_templates", "check_templates"]
