# SPDX-License-Identifier: GPL-2.0-only
"""Operations sets: how one kind of address space is monitored. They fill the Protocol that core defines."""
