# SPDX-License-Identifier: GPL-2.0-only
"""Monitoring page by page: what is known of every page, which to make old, and regions made of runs of equal pages.

Pure, as all of `core`: pages are read and made old by whoever fills `operations.PageOperations`.
"""
