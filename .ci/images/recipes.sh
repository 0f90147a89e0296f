# Images out of Debian's packages, for machines that reach no registry. Sourced by ../containers.
# shellcheck shell=bash disable=SC2154 -- $here, $ca_bundle and fail are the caller's

bootstrap() { # TREE PACKAGE,PACKAGE
    # shellcheck source=/dev/null
    local suite && suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    debootstrap --variant=minbase --include="$2" "$suite" "$1" >"$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; rm -f "$1.log"; fail "debootstrap failed; its last lines are above"; }
    rm -rf "$1.log" "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
}

import() { # TREE TAG CHANGE...
    local tree=$1 tag=$2 changes=()
    shift 2
    for change in "$@"; do changes+=(-c "$change"); done
    tar -C "$tree" --one-file-system -c . | docker import "${changes[@]}" - "$tag" >/dev/null
}

make_postgres() {
    local tree=$1 tag=$2 label=$3
    bootstrap "$tree" postgresql,postgresql-contrib
    install -m 755 "$here/images/postgres-entrypoint" "$tree/usr/local/bin/docker-entrypoint.sh"
    local programs
    programs=$(cd "$tree" && echo usr/lib/postgresql/*/bin)
    import "$tree" "$tag" "$label" "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/$programs LANG=C.UTF-8" \
        'VOLUME /var/lib/postgresql' 'EXPOSE 5432' 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
}

make_python() {
    local tree=$1 tag=$2 label=$3
    bootstrap "$tree" python3,python3-venv,ca-certificates
    local trusted=/etc/ssl/certs/ca-certificates.crt
    [ ! -r "$ca_bundle" ] || cp "$ca_bundle" "$tree$trusted"
    import "$tree" "$tag" "$label" "ENV PIP_CERT=$trusted SSL_CERT_FILE=$trusted LANG=C.UTF-8" 'CMD ["python3"]'
}
