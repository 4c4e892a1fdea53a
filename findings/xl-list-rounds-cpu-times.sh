#!/usr/bin/env bash
# Xen: `xl list` prints a domain's CPU time with one decimal, and knows it only to half a second after two months.
#
# Guess: `Time(s)` counts in steps of 0.1 s, as it is printed; Xen itself has nanoseconds in 64 bits.
# Seen:  after 5,000,000 s (58 days of one CPU) the steps are 0.54 s: 0.2 s and 0.4 s more are printed as the same
#        number, 0.5 s as 0.6 s more than that. After ten times as much they are 4.3 s, and 50000000.0 is 49999999.2.
# Why it matters: scripts read dom0's load as the difference of two such numbers. Over some seconds it is nothing, or
#        several times what it was. On a host that has just booted the same script is right.
# Source: Xen tools/xl/xl_list.c, list_domains(): `(float)info[i].cpu_time / 1e9`, a float has 24 binary digits.
#
# Needs bash, apt-get and gcc: xl needs Xen, so a stand-in for eight functions of libxl tells of one domain.
set -euo pipefail

VERSION=4.17.5+72-g01140da4e8-1 # Debian 12
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
packages="xen-utils-4.17 libxenmisc4.17 libxen-dev"
for name in call1 devicemodel1 evtchn1 foreignmemory1 gnttab1 hypfs1 store4 toolcore1 toollog1; do
    packages+=" libxen$name"
done
# shellcheck disable=SC2046,SC2086 # they are words
apt-get download -qq $(printf "%s=$VERSION " $packages) libyajl2 2>/dev/null ||
    { echo "xl $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >standin.c <<'END'
#include <stdlib.h>
#include <string.h>
#include <libxl.h>
#include <libxl_utils.h>

int libxl_ctx_alloc(libxl_ctx **ctx, int version, unsigned flags, xentoollog_logger *log)
{
    *ctx = calloc(1, 1 << 16);
    return 0;
}

int libxl_ctx_free(libxl_ctx *ctx) { return 0; }

void libxl_childproc_setmode(libxl_ctx *ctx, const libxl_childproc_hooks *hooks, void *user) {}

int libxl_read_file_contents(libxl_ctx *ctx, const char *name, void **data, int *length)
{
    *data = strdup("");
    *length = 0;
    return 0;
}

const libxl_version_info *libxl_get_version_info(libxl_ctx *ctx)
{
    static libxl_version_info info;

    info.commandline = "";
    return &info;
}

int libxl_cpu_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *bits, int cpus)
{
    return libxl_bitmap_alloc(ctx, bits, 8);
}

char *libxl_domid_to_name(libxl_ctx *ctx, uint32_t domid) { return strdup("Domain-0"); }

libxl_dominfo *libxl_list_domain(libxl_ctx *ctx, int *number)
{
    libxl_dominfo *info = calloc(1, sizeof *info);

    info->cpu_time = strtoull(getenv("NANOSECONDS"), NULL, 10);
    *number = 1;
    return info;
}
END
gcc -shared -fPIC -I usr/include -o standin.so standin.c

for seconds in 0.3 5000000.2 5000000.4 5000000.5 5000000.9 50000000.0; do
    NANOSECONDS=${seconds/./}00000000 LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu LD_PRELOAD=$folder/standin.so \
        usr/lib/xen-4.17/bin/xl list | awk -v "is=$seconds" '/Domain-0/ { print is, "is printed as", $NF }'
done | tee said

diff - said <<'END'
0.3 is printed as 0.3
5000000.2 is printed as 5000000.1
5000000.4 is printed as 5000000.1
5000000.5 is printed as 5000000.7
5000000.9 is printed as 5000000.7
50000000.0 is printed as 49999999.2
END
echo "As described: of a domain that has run for long, xl list knows the time less well than it prints it."
