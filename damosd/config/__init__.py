# SPDX-License-Identifier: GPL-2.0-only
"""Files that people write: strict YAML, and every mistake of a file at once with its place."""
