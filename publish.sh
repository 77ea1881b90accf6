#!/usr/bin/env bash
# Makes dist/iotgw-VERSION-RID.tar.gz: the gateway as one native executable with the licences of what is in it; beside it
# an archive with its symbols and the bill of materials, iotgw-VERSION-RID.cdx.json. The same sources give the same bytes.
#   ./publish.sh                for a 64-bit Raspberry Pi (linux-arm64)
#   ./publish.sh linux-x64      for a PC
set -euo pipefail
cd "$(dirname "$0")"
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
rid=${1:-linux-arm64}
case $rid in
linux-arm64 | linux-x64) ;;
-h | --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;;
*) echo "publish.sh: '$rid' is not known here: linux-arm64 or linux-x64"; exit 2 ;;
esac

packages=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || packages+=("$2")
}

command -v dotnet >/dev/null 2>&1 || { echo "publish.sh: the .NET SDK 10 is missing: install it, so that 'dotnet' is found"; exit 3; }
need clang clang
need ld.lld lld
need python3 python3
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
obj=src/IotTcpGateway/obj/Release/net10.0/$rid
options=(-c Release -r "$rid" -p:RestoreLockedMode=true -p:SortedSources=true)

sort_log_methods() { # FROM TO: the blocks of a generated file in the order of their text, see Directory.Build.targets
    LC_ALL=C awk '{ sub(/\r$/, "") } /^namespace/ { close(head); block = 1 } !block { print >head; next }
        { text = text $0 "\001" } /^}/ { print text; text = "" }' head="$2" "$1" | LC_ALL=C sort | tr '\001' '\n' >>"$2"
}

rm -rf "$out" "$obj"
dotnet build src/IotTcpGateway "${options[@]}" -p:EmitCompilerGeneratedFiles=true -v quiet
sort_log_methods "$(find "$obj" -name LoggerMessage.g.cs)" "$obj/LogMethods.g.cs"
dotnet publish src/IotTcpGateway "${options[@]}" -o "$out" -p:LinkerFlavor=lld "${cross[@]}"

mkdir -p dist
name=iotgw-$version-$rid
python3 -B deploy/sbom.py --executable "$out/iotgw" --symbols "$out/iotgw.dbg" --build src/IotTcpGateway/obj \
    --tool ".NET SDK=$(dotnet --version)" --tool "clang=$(clang -dumpversion)" \
    --tool "lld=$(ld.lld --version | sed -nE 's/.*LLD ([0-9.]+).*/\1/p')" \
    --rid "$rid" --version "$version" --sbom "dist/$name.cdx.json" --notices "$out/THIRD-PARTY-NOTICES"
# The same bytes from the same files: no times, owners, modes or order of this machine.
pack() { # ARCHIVE FILE...
    local archive=$1; shift
    tar -C "$out" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u+w,a+rX,go-w -c "$@" | gzip -n >"$archive"
}
pack "dist/$name.tar.gz" iotgw THIRD-PARTY-NOTICES
pack "dist/$name-symbols.tar.gz" iotgw.dbg
printf '%s: executable %s bytes\n' "$name" "$(stat -c %s "$out/iotgw")"
(cd dist && sha256sum "$name.tar.gz" "$name-symbols.tar.gz" "$name.cdx.json" | tee "$name.sha256")
