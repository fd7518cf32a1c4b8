#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# etc/install.sh install|uninstall: what `make install` and `make uninstall` do.
#
# From the environment: PREFIX; DESTDIR, a root folder to work below; PYTHON, which damosd will run on. For install also
# PIP, a command of pip 22.3 or newer, and WHEELS, a folder with the wheels of damosd and all that it needs.
set -eu
umask 022

lib=$DESTDIR$PREFIX/lib
share=$DESTDIR$PREFIX/share
venv=$lib/damosd/venv
manifest=$lib/damosd/manifest
main=/etc/damosd/damosd.yaml

# The manifest has a line for each file and each folder that was not there before. Of what was there nothing is deleted.
folder() { # PATH: make this folder
    if [ -z "$1" ]; then mkdir -p "$DESTDIR/"; fi
    if [ -d "$DESTDIR$1/" ]; then return; fi
    folder "${1%/*}"
    mkdir "$DESTDIR$1"
    echo "$1/" >>"$placed"
}

place() { # MODE FILE TARGET: copy FILE to the path TARGET
    folder "${3%/*}"
    install -p -m "$1" "$2" "$DESTDIR$3"
    echo "$3" >>"$placed"
}

# A virtual environment without scripts, whose places are those that it will have. It is compiled, so that nothing is
# written to it when it is used, not even by root.
install_venv() {
    "$PYTHON" -m venv --without-pip --symlinks "$venv"
    $PIP --python "$venv/bin/python" install --quiet --no-index --find-links "$WHEELS" --no-compile 'damosd[top]'
    find "$venv/bin" -mindepth 1 ! -name 'python*' -delete
    rm -rf "$venv/include" "$venv/share" "$venv/lib64"
    find "$venv" -type d -name tests -path '*/numpy/*' -exec rm -rf {} +
    sed -i '/^command = /d' "$venv/pyvenv.cfg"
    "$PYTHON" -m compileall -q --invalidation-mode unchecked-hash -s "$DESTDIR" -p / "$venv/lib"
}

install_launcher() {
    cat >"$work/damosd" <<EOF
#!$PREFIX/lib/damosd/venv/bin/python -I
# SPDX-License-Identifier: GPL-2.0-only
import sys

from damosd.cli.main import main

sys.exit(main())
EOF
    place 755 "$work/damosd" "$PREFIX/bin/damosd"
}

install_systemd() {
    sed "s|/usr/local/bin/|$PREFIX/bin/|; s|share/damosd/systemd|$PREFIX/&|" etc/systemd/damosd.service >"$work/service"
    place 644 "$work/service" "$PREFIX/lib/systemd/system/damosd.service"
    place 644 etc/systemd/damosd.sysusers "$PREFIX/lib/sysusers.d/damosd.conf"
    place 644 etc/systemd/damosd.tmpfiles "$PREFIX/lib/tmpfiles.d/damosd.conf"
    for file in etc/systemd/damosd.service.d.example/*.conf; do
        place 644 "$file" "$PREFIX/share/damosd/systemd/${file##*/}"
    done
}

# Schemes are examples: whoever wants one links it into /etc/damosd/schemes.d.
install_data() {
    for file in schemes/*.yaml; do place 644 "$file" "$PREFIX/share/damosd/$file"; done
    for file in etc/schema/*.json etc/grafana/*.json etc/prometheus/*.yaml; do place 644 "$file" "$PREFIX/share/damosd/$file"; done
    for file in README.md LICENSE docs/*.md; do place 644 "$file" "$PREFIX/share/doc/damosd/$file"; done
}

install_pages_and_completions() {
    for file in build/man/*.8; do place 644 "$file" "$PREFIX/share/man/man8/${file##*/}"; done
    place 644 build/completions/damosd.bash "$PREFIX/share/bash-completion/completions/damosd"
    place 644 build/completions/_damosd "$PREFIX/share/zsh/vendor-completions/_damosd"
}

# What somebody has written stays. What we wrote is known by its sum, which lets `uninstall` take it away again.
install_configuration() {
    folder /etc/damosd/schemes.d
    if [ ! -e "$DESTDIR$main" ]; then install -p -m 644 etc/damosd.yaml "$DESTDIR$main"; fi
    sum etc/damosd.yaml >"$work/sum"
    place 644 "$work/sum" "$PREFIX/lib/damosd/damosd.yaml.sha256"
}

sum() { # FILE
    sha256sum <"$1" | cut -d ' ' -f 1
}

uninstall() {
    if [ -e "$DESTDIR$main" ]; then
        if [ "$(sum "$DESTDIR$main")" = "$(cat "$lib/damosd/damosd.yaml.sha256")" ]; then
            rm "$DESTDIR$main"
        else
            echo "$DESTDIR$main was changed: it stays"
        fi
    fi
    rm -rf "$venv"
    tac "$manifest" >"$work/manifest"
    rm "$manifest"
    while read -r path; do
        case $path in
            */) rmdir --ignore-fail-on-non-empty "$DESTDIR$path" ;;
            *) rm -f "$DESTDIR$path" ;;
        esac
    done <"$work/manifest"
}

work=$(mktemp -d)
placed=$work/placed
trap 'rm -rf "$work"' EXIT

case ${1-} in
    install)
        if [ -e "$manifest" ]; then uninstall; fi
        folder "$PREFIX/lib/damosd"
        trap 'install -m 644 "$placed" "$manifest"; rm -rf "$work"' EXIT
        install_venv
        install_launcher
        install_systemd
        install_data
        install_pages_and_completions
        install_configuration
        ;;
    uninstall)
        if [ ! -e "$manifest" ]; then
            echo "there is no $manifest: nothing is installed there, or not by \`make install\`" >&2
            exit 1
        fi
        uninstall
        ;;
    *)
        sed -n 's/^# //; 3,6p' "$0" >&2
        exit 2
        ;;
esac
