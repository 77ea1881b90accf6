#!/usr/bin/env bash
# Makes dist/iotgw-VERSION-RID.tar.gz: the gateway as one native executable, its symbols in an archive beside it.
#   ./publish.sh                for a 64-bit Raspberry Pi (linux-arm64)
#   ./publish.sh linux-x64      for a PC
set -euo pipefail
cd "$(dirname "$0")"
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
rid=${1:-linux-arm64}
case $rid in
linux-arm64 | linux-x64) ;;
-h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
*) echo "publish.sh: '$rid' is not known here: linux-arm64 or linux-x64"; exit 2 ;;
esac

packages=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || packages+=("$2")
}

command -v dotnet >/dev/null 2>&1 || { echo "publish.sh: the .NET SDK 10 is missing: install it, so that 'dotnet' is found"; exit 3; }
need clang clang
need ld.lld lld
[ -e /usr/include/zlib.h ] || packages+=(zlib1g-dev)
native=$([ "$(uname -m)" = x86_64 ] && echo linux-x64 || echo linux-arm64)
cross=()
if [ "$rid" != "$native" ]; then
    [ "$rid" = linux-arm64 ] || { echo "publish.sh: $rid is built on a PC only"; exit 3; }
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
    need aarch64-linux-gnu-objcopy binutils-aarch64-linux-gnu
    [ -e /usr/aarch64-linux-gnu/include/stdlib.h ] || packages+=(libc6-dev-arm64-cross)
    cross=(-p:CppCompilerAndLinker=clang -p:SysRoot=/ -p:ObjCopyName=aarch64-linux-gnu-objcopy)
fi
if [ ${#packages[@]} -gt 0 ]; then
    echo "missing: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "publish.sh: install them, on Debian with: sudo apt-get install ${packages[*]}"; exit 3
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Directory.Build.props)
out=artifacts/publish/$rid
rm -rf "$out"
dotnet publish src/IotTcpGateway -c Release -r "$rid" -o "$out" -p:LinkerFlavor=lld -p:RestoreLockedMode=true "${cross[@]}"

mkdir -p dist
name=iotgw-$version-$rid
# The same bytes from the same files: no times, owners or order of this machine.
pack() { # ARCHIVE FILE...
    local archive=$1; shift
    tar -C "$out" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c "$@" | gzip -n >"$archive"
}
pack "dist/$name.tar.gz" iotgw
pack "dist/$name-symbols.tar.gz" iotgw.dbg
printf '%s: executable %s bytes\n' "$name" "$(stat -c %s "$out/iotgw")"
(cd dist && sha256sum "$name.tar.gz" "$name-symbols.tar.gz")
