#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# etc/debian/build.sh TREE FOLDER: make a package, in FOLDER, of what `make install PREFIX=/usr DESTDIR=TREE` has placed.
set -eu
umask 022

tree=$1
doc=$tree/usr/share/doc/damosd
venv=$tree/usr/lib/damosd/venv
version=$("$venv/bin/python" -c 'import damosd; print(damosd.__version__)')
architecture=$(dpkg --print-architecture)
python=$(basename "$(readlink -f "$venv/bin/python")")
package=$2/damosd_${version}_$architecture.deb

# What was installed, the package database knows; the licence is on every Debian system.
rm "$tree/usr/lib/damosd/manifest" "$tree/usr/lib/damosd/damosd.yaml.sha256" "$doc/LICENSE"
find "$venv" -name '*.so*' -exec chmod 644 {} +

for script in preinst postinst prerm postrm; do
    if [ -e "etc/debian/$script" ]; then install -D -m 755 "etc/debian/$script" "$tree/DEBIAN/$script"; fi
done
install -m 644 etc/debian/copyright "$doc/copyright"
install -D -m 644 etc/debian/lintian-overrides "$tree/usr/share/lintian/overrides/damosd"
printf 'damosd (%s) unstable; urgency=medium\n\n  * See the history of the source.\n\n -- %s  %s\n' "$version" \
    "$(sed -n 's/^Maintainer: //p' etc/debian/control.in)" "$(date -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")" |
    gzip -9n >"$doc/changelog.gz"
find "$tree/usr/share/man" -type f -exec gzip -9n {} + 2>/dev/null || true

echo /etc/damosd/damosd.yaml >"$tree/DEBIAN/conffiles"
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@PYTHON@/$python/
    s/@INSTALLED_SIZE@/$(du -sk --exclude=DEBIAN "$tree" | cut -f 1)/" etc/debian/control.in >"$tree/DEBIAN/control"
(cd "$tree" && find . -type f ! -path './DEBIAN/*' ! -path ./etc/damosd/damosd.yaml -printf '%P\0' |
    sort -z | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package" >/dev/null
echo "$package"
