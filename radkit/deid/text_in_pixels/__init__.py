"""Text burned into pixels: found, blacked out, and the pixels written back (PS3.15 E.3.1, Clean Pixel Data)."""

from radkit.deid.text_in_pixels.boxes import Box
from radkit.deid.text_in_pixels.cleaning import Cleaned, clean
from radkit.deid.text_in_pixels.finding import text_in_overlay
from radkit.deid.text_in_pixels.known import known_strings
from radkit.deid.text_in_pixels.regions import Template, load_templates

__all__ = ["Box", "Cleaned", "Template", "clean", "known_strings", "load_templates", "text_in_overlay"]
