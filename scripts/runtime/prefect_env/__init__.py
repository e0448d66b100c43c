"""The prefect-env command: settings, proxies and certificates of an environment, and what it is made of.

Runs on Python 3.9 and later with click, rich and cryptography, which every environment has, and imports nothing of
Prefect, so that it works where Prefect does not.
"""
