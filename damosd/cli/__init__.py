# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one module per subcommand, each with set_argparser() and main()."""
