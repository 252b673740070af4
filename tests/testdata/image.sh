#!/bin/sh
# A root file system for tests of containers, as a tar file on standard output: a few programs of this machine with the libraries they
# need, and nothing that has to be fetched. Give it to `docker import`.
set -eu
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/usr/bin" "$root/usr/games" "$root/etc" "$root/tmp" "$root/mnt/server" "$root/home/container"
chmod 1777 "$root/tmp"
touch "$root/etc/passwd"
copy() {
    target="$root$1"
    mkdir -p "$(dirname "$target")"
    [ -e "$target" ] || cp -L "$1" "$target"
}
for name in sh bash cat echo sleep id env head ls seq true kill mkdir cp chmod test dd touch rm "$@"; do
    program="$(command -v "$name" || true)"
    # What a shell has built in may be a program as well.
    [ -x "/bin/$name" ] && program="/bin/$name"
    [ -x "$program" ] || continue
    copy "$(readlink -f "$program")"
    [ -e "$root/bin/$name" ] || cp -L "$program" "$root/bin/$name"
done
# What our own program and its games are linked with comes along: it is laid into the container as it is.
for library in libc.so.6 libm.so.6 libgcc_s.so.1; do
    found="$(ldconfig -p | sed -n "s/.*$library .*=> //p" | head -n 1)"
    [ -n "$found" ] && copy "$found"
done
find "$root" -type f | while read -r file; do
    ldd "$file" 2> /dev/null | grep -o '/[^ ]*\.so[^ ]*' || true
done | sort -u | while read -r library; do
    case "$library" in "$root"*) ;; *) copy "$library" ;; esac
done
tar --create --directory "$root" --owner 0 --group 0 .
