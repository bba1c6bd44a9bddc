"""Checks of the doctor, a module for each part of the platform."""
